# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the role auditd sets the daemon's options. The texts follow the published rules of CIS and STIG."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtaudit.qemu.roles.auditd.files import options

ROLE = Path(__file__).resolve().parents[4] / "roles" / "auditd"
DATA = yaml.safe_load((ROLE / "vars" / "main" / "options.yml").read_text())
SPEC = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
OWN = SPEC["argument_specs"]["main"]["options"]

STOCK = """\
# A comment
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 8
num_logs = 5
name_format = NONE
##name = mydomain
max_log_file_action = ROTATE
space_left = 75
space_left_action = SYSLOG
action_mail_acct = root
admin_space_left = 50
admin_space_left_action = SUSPEND
disk_full_action = SUSPEND
disk_error_action = SUSPEND
"""
CIS = """\
log_format = ENRICHED
flush = DATA
freq = 50
max_log_file = 32
max_log_file_action = keep_logs
space_left = 75
space_left_action = email
action_mail_acct = root
admin_space_left = 50
admin_space_left_action = halt
disk_full_action = halt
disk_error_action = halt
"""
# Without a newline at its end.
STIG = """\
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 100
name_format = hostname
num_logs = 99
max_log_file = 8
max_log_file_action = ROTATE
space_left = 25%
space_left_action = EMAIL
action_mail_acct = root
admin_space_left = 5%
admin_space_left_action = SINGLE
disk_full_action = HALT
disk_error_action = HALT
overflow_action = SYSLOG"""


def plan(text: str | None, **asked: t.Any) -> dict[str, t.Any]:
    """Return the plan for a host with this auditd.conf. asked: the differences from a play without variables."""
    host = {
        "free": 2000,
        "size": 4000,
        "log_directory": "/var/log/audit",
        "resolves": True,
        "forwards": False,
        **asked.pop("host", {}),
    }
    texts = {} if text is None else {options.CONF: text}
    preset = DATA["__auditd_presets"][asked.pop("preset", "none")]
    rest = {
        "present": True,
        "variables": {},
        "listen": {},
        "allow": False,
        "saved": {},
        "remote": {},
        "names": [],
    }
    return options.plan(
        {
            **rest,
            "known": DATA["__auditd_known"],
            "own": list(OWN),
            "texts": texts,
            "preset": preset,
            "host": host,
            **asked,
        }
    )


def written(text: str, found: dict[str, t.Any]) -> dict[str, str]:
    """Return the lines that auditd.conf has afterwards and did not have before."""
    assert found["problems"] == []
    new = found["files"][0]["text"] if found["files"] else text
    before = options.parse(text)
    return {k: v for k, v in options.parse(new).items() if before.get(k) != v}


@pytest.mark.parametrize("text", [STOCK, CIS, STIG, ""])
def test_only_given_options_are_set(text: str) -> None:
    found = plan(text)
    assert (found["problems"], found["hints"]) == ([], [])
    assert (found["files"], found["remembered"]) == ([], {})
    assert not found["restart"]


@pytest.mark.parametrize("text", [CIS, STIG])
def test_values_that_the_host_has_change_nothing(text: str) -> None:
    variables = {name: value.upper() for name, value in options.parse(text).items()}
    found = plan(text, variables=variables)
    assert (found["files"], found["remembered"].get(options.CONF, {})) == ([], {})


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"space_left_action": "email"}, "email"),
        ({"space_left_action": "EMAIL"}, "EMAIL"),
        ({"space_left_action": "exec /usr/bin/x"}, "exec /usr/bin/x"),
        ({"space_left_action": "EXEC", "space_left_action_exe": "/x"}, "EXEC /x"),
        ({"space_left": "25%"}, "25%"),
        ({"space_left": 200}, "200"),
        ({"num_logs": "999"}, "999"),
        ({"verify_email": False}, "no"),
        ({"verify_email": "True"}, "yes"),
        ({"flush": "SYNC"}, "SYNC"),
        ({"action_mail_acct": "audit@example.com"}, "audit@example.com"),
    ],
)
def test_values_of_auditd_conf(given: dict[str, t.Any], value: str) -> None:
    new = written(STOCK, plan(STOCK, variables=given))
    assert new == {next(iter(given)): value}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"flush": "often"}, "auditd_flush is 'often', and must be one of none, "),
        ({"disk_full_action": "email"}, "auditd_disk_full_action is 'email'"),
        ({"disk_error_action": "rotate"}, "auditd_disk_error_action is 'rotate'"),
        ({"space_left_action": "exec"}, "must name the program"),
        ({"space_left_action": "exec x y"}, "must name the program"),
        ({"space_left_action": "halt now"}, "must be one of"),
        ({"space_left": "100%"}, "from 1 to 99"),
        ({"space_left": "-1"}, "from 1 up, in MiB or with %"),
        ({"num_logs": 1000}, "from 0 to 999"),
        ({"num_logs": "many"}, "from 0 to 999"),
        ({"num_logs": "25%"}, "from 0 to 999"),
        ({"action_mail_acct": "root\nflush = none"}, "must be one line"),
        ({"freq": 0}, "auditd does not start with auditd_freq 0"),
        ({"space_left": 20}, "must be below auditd_space_left"),
        ({"admin_space_left": "40%"}, "must be below auditd_space_left"),
        ({"name_format": "user"}, "needs auditd_name"),
        ({"write_logs": False}, "no log in which anybody could find records"),
        ({"log_format": "NOLOG"}, "no log in which anybody could find records"),
    ],
)
def test_values_that_are_refused(given: dict[str, t.Any], why: str) -> None:
    (problem,) = plan(STOCK, variables=given)["problems"]
    assert why in problem


@pytest.mark.parametrize(
    ("host", "text", "why"),
    [
        ({"forwards": True}, STOCK, "cannot tell this host's records"),
        (
            {"resolves": False},
            STOCK + "name_format = FQD\n",
            "address of the host's name",
        ),
        ({"free": 50}, STOCK, "has 50 MiB free"),
        ({"free": 150}, STIG, "has 150 MiB free"),
        # A template makes a text of each number before ansible-core 2.19.
        ({"free": "150", "size": "4000"}, STIG, "has 150 MiB free"),
    ],
)
def test_a_host_that_lacks_something(
    host: dict[str, t.Any], text: str, why: str
) -> None:
    (problem,) = plan(text, host=host)["problems"]
    assert why in problem
    # Before the daemon is installed, only the values of the play can be wrong.
    assert plan(text, host={}, present=True)["problems"] == []


@pytest.mark.parametrize(
    ("text", "given", "why"),
    [
        (STIG, {"num_logs": 10}, "num_logs 10"),
        (STIG, {"max_log_file": 4}, "max_log_file 4"),
        # The play gives more room and fewer files, and auditd deletes the additional files.
        (STIG, {"num_logs": 50, "max_log_file": 100}, "num_logs 50"),
        (CIS, {"max_log_file_action": "rotate"}, "in place of keep_logs"),
        (CIS, {"max_log_file_action": "suspend"}, "stops writing"),
        (CIS, {"disk_full_action": "syslog"}, "the host goes on"),
        (CIS, {"disk_full_action": "suspend"}, "the host goes on"),
        (CIS, {"space_left_action": "rotate"}, "deletes logs"),
        (STOCK, {"disk_full_action": "rotate"}, "deletes logs"),
        (STOCK + "num_logs = 0\n", {"num_logs": 5}, "deletes logs"),
    ],
)
def test_fewer_logs(text: str, given: dict[str, t.Any], why: str) -> None:
    (problem,) = plan(text, variables=given)["problems"]
    assert why in problem
    assert "auditd_allow_less_retention: true" in problem
    allowed = plan(text, variables=given, allow=True)
    assert written(text, allowed) == {k: str(v) for k, v in given.items()}


@pytest.mark.parametrize(
    ("has", "given"),
    [
        ("space_left_action = exec /sbin/x", {"space_left_action": "exec /sbin/X"}),
        ("name_format = user\nname = hv1", {"name": "HV1"}),
        ("log_group = adm", {"log_group": "Adm"}),
    ],
)
def test_case_matters_in_paths_and_names(has: str, given: dict[str, t.Any]) -> None:
    text = f"{STOCK.replace('space_left_action = SYSLOG', '', 1)}{has}\n"
    assert written(text, plan(text, variables=given)) == given
    other = {name: value.lower() for name, value in given.items()}
    assert written(text, plan(text, variables=other)) == {}


@pytest.mark.parametrize(
    "given",
    [
        {"num_logs": 10},
        {"overflow_action": "suspend"},
        {"max_log_file": 100},
        {"max_log_file_action": "keep_logs", "num_logs": 2},
        {"disk_full_action": "halt"},
        {"admin_space_left_action": "single"},
    ],
)
def test_more_logs(given: dict[str, t.Any]) -> None:
    assert plan(STOCK, variables=given)["problems"] == []


def test_preset_proof() -> None:
    new = written(STOCK, plan(STOCK, preset="proof"))
    assert new == {
        "flush": "sync",
        "name_format": "hostname",
        "max_log_file_action": "keep_logs",
        "admin_space_left_action": "single",
        "disk_full_action": "halt",
        "disk_error_action": "halt",
    }
    # The role leaves the values of a hardened host as they are, and a variable comes before the
    # preset.
    assert written(CIS, plan(CIS, preset="proof")) == {"name_format": "hostname"}
    found = plan(STIG, preset="proof", variables={"flush": "data"})
    assert written(STIG, found) == {"max_log_file_action": "keep_logs", "flush": "data"}


def test_preset_proof_keeps_another_good_value_that_somebody_has_set() -> None:
    first = plan(STOCK, preset="proof")
    text = first["files"][0]["text"].replace("flush = sync", "flush = data")
    again = plan(text, preset="proof", saved=first["remembered"])
    assert again["files"] == []
    assert again["remembered"][options.CONF]["flush"]["was"] == "INCREMENTAL_ASYNC"


def test_preset_proof_twice() -> None:
    first = plan(STOCK, preset="proof")
    text, saved = first["files"][0]["text"], first["remembered"]
    again = plan(text, preset="proof", saved=saved)
    assert (again["files"], again["remembered"]) == ([], saved)


def test_options_that_are_no_longer_given() -> None:
    given = {"num_logs": 10, "freq": 9, "q_depth": 4000}
    first = plan(STOCK, variables=given)
    text, saved = first["files"][0]["text"], first["remembered"]
    assert saved[options.CONF]["num_logs"] == {"was": "5", "set": "10"}
    assert saved[options.CONF]["q_depth"] == {"was": None, "set": "4000"}
    # With this value auditd would delete logs.
    kept = plan(text, saved=saved)
    assert kept["files"][0]["text"] == STOCK.replace("num_logs = 5", "num_logs = 10")
    assert list(kept["remembered"][options.CONF]) == ["num_logs"]
    assert "num_logs stay as" in kept["hints"][0]
    for asked in ({"allow": True}, {"present": False}):
        back = plan(text, saved=saved, **asked)
        assert back["files"] == [{"path": options.CONF, "text": STOCK}]
        assert back["remembered"] == {}
    # A value that somebody else has changed meanwhile stays.
    other = text.replace("freq = 9", "freq = 20")
    back = plan(other, saved=saved, present=False)
    assert options.parse(back["files"][0]["text"])["freq"] == "20"


def test_a_listener_needs_a_new_start() -> None:
    found = plan(STOCK, listen={"tcp_listen_port": 60, "transport": None})
    assert written(STOCK, found) == {"tcp_listen_port": "60"}
    assert found["restart"]
    (problem,) = plan(STOCK, listen={"tcp_listen_port": 70000})["problems"]
    assert "auditd_listen: tcp_listen_port" in problem


def test_verify_email_comes_before_the_address() -> None:
    text = plan(STOCK, variables={"verify_email": False})["files"][0]["text"]
    assert "verify_email = no\naction_mail_acct = root\n" in text


def test_variables_of_others() -> None:
    others = ["auditd_status", "auditd_rules", "auditd_tcp_listen_port", "auditd_log"]
    assert plan(STOCK, names=[*others, *OWN])["hints"] == []
    (hint,) = plan(STOCK, names=["auditd_nmu_logs"])["hints"]
    assert "A similar option is auditd_num_logs" in hint


def test_each_known_option_has_a_variable() -> None:
    listen = set(OWN["auditd_listen"]["options"])
    for name in DATA["__auditd_known"]:
        plain = name.replace("tcp_listen_", "").replace("tcp_", "")
        assert f"auditd_{name}" in OWN or plain in listen, name
    for name in DATA["__auditd_given"]:
        assert f"auditd_{name}" in OWN
