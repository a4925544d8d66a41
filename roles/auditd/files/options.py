# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work out the new options of the audit daemon, and the reasons against them.

Runs on the host, with a JSON object as its argument (see ``plan``). Changes nothing. auditd.conf(5) explains
the options.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
import sys
import typing as t

CONF = "/etc/audit/auditd.conf"
LINE = re.compile(r"[ \t]*(\w+)[ \t]*=[ \t]*(.*?)[ \t]*")
# These actions stop the system, so that it does not continue without a log.
END = ("single", "halt")
# auditd reads these options only when it starts. After a change of name_format it writes
# "node=(null)" until then.
STARTED_WITH = (
    "name_format",
    "name",
    *("tcp_listen_port", "tcp_listen_queue", "tcp_client_ports", "use_libwrap"),
    *("transport", "krb5_principal", "krb5_key_file"),
)
# Case matters in the values of these options. In the value of any other option, case matters only after the first word,
# as in "exec /path".
TEXTS = ("name", "log_group", "krb5_principal", "krb5_key_file", "queue_file")
Values = dict[str, str]
# For each option that the role has set: "was", its value before or None, and "set", the value of the role.
Memory = dict[str, dict[str, t.Any]]


def parse(text: str) -> Values:
    """Return the options that a file sets, by their names in lower case."""
    found = (LINE.fullmatch(line) for line in text.split("\n"))
    return {match[1].lower(): match[2] for match in found if match}


def same(name: str, one: str, other: str) -> bool:
    """Tell whether two values of an option mean the same."""
    if name in TEXTS:
        return one == other
    (word, _blank, rest), (other_word, _blank, other_rest) = (
        value.partition(" ") for value in (one, other)
    )
    return (word.lower(), rest.strip()) == (other_word.lower(), other_rest.strip())


def wrong(name: str, text: str, known: dict[str, t.Any]) -> str:
    """Return the reason why the option cannot have that value, or nothing."""
    word, _blank, path = text.partition(" ")
    if "words" in known:
        if word.lower() not in known["words"] or (path and word.lower() != "exec"):
            return f"must be one of {', '.join(known['words'])}"
        if word.lower() == "exec" and not re.fullmatch(r"/\S+", path.strip()):
            return f"must name the program, as 'exec /path' or in auditd_{name}_exe"
    elif "least" in known:
        percent = "percent" in known and text.endswith("%")
        number = text[:-1] if percent else text
        most = 99 if percent else known.get("most", sys.maxsize)
        if not re.fullmatch("[0-9]+", number) or not (
            known["least"] <= int(number) <= most
        ):
            upto = "up" if most == sys.maxsize else f"to {most}"
            unit = ", in MiB or with %" if "percent" in known else ""
            return f"must be a number from {known['least']} {upto}{unit}"
    elif not text.isprintable():
        return "must be one line"
    return ""


def given(
    variables: dict[str, t.Any], known: dict[str, t.Any], called: str
) -> tuple[Values, list[str]]:
    """Return the options that variables set, and the errors in them. called: the text before an option's name."""
    wanted, problems = {}, []
    for name in (name for name in variables if name in known):
        text = "" if variables[name] is None else str(variables[name]).strip()
        if "yes" in known[name].get("words", ()):
            text = {"true": "yes", "false": "no"}.get(text.lower(), text)
        program = variables.get(f"{name}_exe")
        if text.lower() == "exec" and program:
            text = f"{text} {program}"
        why = wrong(name, text, known[name]) if text else ""
        if why:
            problems.append(f"{called}{name} is {text!r}, and {why}.")
        elif text:
            wanted[name] = text
    return wanted, problems


def render(text: str, wanted: Values, old: Memory) -> str:
    """Return the file's text with the wanted options.

    Options that are no longer wanted get the value that they had before the role.
    """
    missing = [name for name in wanted if name not in parse(text)]
    lines = []
    for line in text.rstrip("\n").split("\n"):
        match = LINE.fullmatch(line)
        name, value = (match[1].lower(), match[2]) if match else ("", "")
        if name == "action_mail_acct" and "verify_email" in missing:
            missing.remove("verify_email")
            lines.append(f"verify_email = {wanted['verify_email']}")
        if name in wanted and not same(name, value, wanted[name]):
            lines.append(f"{name} = {wanted[name]}")
        elif name in old and name not in wanted and same(name, value, old[name]["set"]):
            if old[name]["was"] is not None:
                lines.append(f"{name} = {old[name]['was']}")
        else:
            lines.append(line)
    lines += [f"{name} = {wanted[name]}" for name in missing]
    new = "\n".join(lines)
    return text if new == text.rstrip("\n") else f"{new}\n"


def remember(text: str, wanted: Values, old: Memory) -> Memory:
    """Return what the role has to remember about the options that it sets."""
    was = parse(text)
    return {
        name: {
            "was": old[name]["was"] if name in old else was.get(name),
            "set": wanted[name],
        }
        for name in wanted
        # If the host had the value already, there is nothing to give back.
        if name in old or not same(name, was.get(name, ""), wanted[name])
    }


class Daemon:
    """Return the options that the daemon has with a text of auditd.conf."""

    def __init__(self, text: str, known: dict[str, t.Any]) -> None:
        defaults = {name: str(option["default"]) for name, option in known.items()}
        self.values = {**defaults, **parse(text)}

    def word(self, name: str) -> str:
        return (self.values[name].lower().split() or [""])[0]

    def number(self, name: str, whole: int = 0) -> int:
        """Return a number. For a percentage, return that part of the whole."""
        text = self.values[name]
        digits = int("0" + "".join(re.findall("[0-9]", text)))
        return digits * whole // 100 if text.endswith("%") else digits

    @property
    def deletes(self) -> bool:
        rotates = self.word("max_log_file_action") == "rotate"
        return rotates and self.number("num_logs") >= 2


def fewer(before: Daemon, after: Daemon) -> list[str]:
    """Return the reasons why the daemon would keep fewer logs than before."""
    why = []
    was, now = before.number("num_logs"), after.number("num_logs")
    sizes = before.number("max_log_file"), after.number("max_log_file")
    if after.deletes and not before.deletes:
        old = before.word("max_log_file_action")
        why.append(
            f"with max_log_file_action rotate and num_logs {now} in place of {old} and num_logs {was}, auditd deletes "
            "logs"
        )
    elif after.deletes and (now < was or now * sizes[1] < was * sizes[0]):
        why.append(
            f"with num_logs {now} and max_log_file {sizes[1]} in place of {was} and {sizes[0]}, auditd deletes the "
            "logs beyond that"
        )
    for name in (name for name in after.values if name.endswith("_action")):
        old, new = before.word(name), after.word(name)
        change = f"{name} {new} instead of {old}"
        if old in END and new not in END:
            why.append(
                f"with {change} the host goes on when auditd cannot write its log"
            )
        # With overflow_action=suspend, auditd only stops sending events to its plugins, and still writes its log.
        elif new != old and new == "suspend" and name != "overflow_action":
            why.append(f"with {change} auditd stops writing")
        elif new != old and new == "rotate" and name != "max_log_file_action":
            why.append(f"with {change} auditd deletes logs")
    return why


def contradictions(daemon: Daemon, host: dict[str, t.Any]) -> list[str]:
    """Return what the collection would lack with these options, and what would keep auditd from starting."""
    flush, name_format = daemon.word("flush"), daemon.word("name_format")
    # A template makes a text of each number before ansible-core 2.19.
    size, free = int(host["size"]), int(host["free"])
    space = daemon.number("space_left", size)
    last = daemon.number("admin_space_left", size)
    logs = daemon.word("write_logs") != "no" and daemon.word("log_format") != "nolog"
    checks = [
        (
            not logs,
            "With write_logs = no, or log_format = NOLOG, there is no log in which anybody could find records. Set "
            "auditd_write_logs: true and auditd_log_format: ENRICHED.",
        ),
        (
            host["forwards"] and name_format == "none",
            (
                "With name_format = NONE a collector cannot tell this host's records from those of other hosts. Set "
                "auditd_name_format."
            ),
        ),
        (
            name_format == "user" and not daemon.values["name"],
            "auditd_name_format user needs auditd_name.",
        ),
        (
            name_format in ("fqd", "numeric") and not host["resolves"],
            f"With auditd_name_format {name_format} auditd looks up the address of the host's name when it starts, and "
            "ends if there is none. Give the name an address in /etc/hosts or in the DNS, or set another "
            "auditd_name_format.",
        ),
        (
            flush.startswith("incremental") and daemon.number("freq") == 0,
            f"auditd does not start with auditd_freq 0 and auditd_flush {flush}. Change one of them.",
        ),
        (
            0 < space <= last,
            f"auditd_admin_space_left ({daemon.values['admin_space_left']}) must be below auditd_space_left"
            f" ({daemon.values['space_left']}).",
        ),
        (
            free <= last,
            f"{host['log_directory']} has {free} MiB free, which is less than admin_space_left "
            f"({daemon.values['admin_space_left']}), the audit daemon's last warning. Make room there.",
        ),
    ]
    return [say for is_so, say in checks if is_so]


def plan(asked: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return problems and hints, each a sentence, the new texts of the files that change, and what the role has
    to remember. asked: ``present``; ``known``, ``variables``, ``listen`` and ``preset``, by the options' names
    (vars/main/options.yml); ``allow``: whether the daemon may keep fewer logs; ``texts``: the texts of the
    existing files, by path; ``saved``: what the role remembers; ``remote``: the wanted options of other files,
    by path; ``names``: the variables whose names begin like the role's ``own``; and ``host``: ``free`` and
    ``size`` in MiB of ``log_directory``, whether its name ``resolves``, whether it ``forwards``.
    """
    texts, saved, known = asked["texts"], asked["saved"], asked["known"]
    text, old = texts.get(CONF, ""), saved.get(CONF, {})
    wanted, problems = given(asked["variables"], known, "auditd_")
    listen, more = given(asked["listen"], known, "auditd_listen: ")
    wanted.update(listen)
    before = Daemon(text, known)
    for name, good in asked["preset"].items():
        is_good = before.word(name) in good
        # The role keeps an option that it has set. Without this it would give the option back.
        if name not in wanted and (name in old or not is_good):
            wanted[name] = before.values[name] if is_good else good[0]
    hints = []
    kept = {
        name: old[name]["set"]
        for name in old
        if name not in wanted
        and (name in ("num_logs", "max_log_file") or name.endswith("_action"))
    }
    if kept and asked["present"] and not asked["allow"]:
        back = Daemon(render(text, wanted, old), known)
        if fewer(before, back):
            wanted = {**kept, **wanted}
            hints.append(
                f"{', '.join(kept)} stay as the role has set them, although no variable sets them any more, because "
                "the host's earlier values keep fewer logs. To restore the earlier values, set "
                "auditd_allow_less_retention: true."
            )
    files = {**asked["remote"], CONF: wanted} if asked["present"] else {}
    new = {p: render(texts[p], files.get(p, {}), saved.get(p, {})) for p in texts}
    remembered = {
        p: remember(texts[p], files[p], saved.get(p, {})) for p in texts if p in files
    }
    after = Daemon(new.get(CONF, render(text, wanted, {})), known)
    problems += more
    if asked["present"] and not problems:
        problems += contradictions(after, asked["host"])
        if CONF in texts and not asked["allow"]:
            problems += [
                f"{why}. If you want that, set auditd_allow_less_retention: true."
                for why in fewer(before, after)
            ]
    near = {
        name: difflib.get_close_matches(name, asked["own"], 1, 0.9)
        for name in sorted(set(asked["names"]) - set(asked["own"]))
    }
    return {
        "problems": problems,
        "hints": hints
        + [
            f"The role has no option {name} and ignores it. A similar option is {found[0]}."
            for name, found in near.items()
            if found
        ],
        "files": [{"path": p, "text": new[p]} for p in texts if new[p] != texts[p]],
        "remembered": {path: was for path, was in remembered.items() if was},
        "restart": any(
            not same(n, before.values[n], after.values[n]) for n in STARTED_WITH
        ),
    }


def main() -> None:
    found = plan(json.loads(sys.argv[1]))
    for file in found["files"]:
        # A host may have a stricter value than its package.
        file["mode"] = f"{stat.S_IMODE(os.stat(file['path']).st_mode):04o}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
