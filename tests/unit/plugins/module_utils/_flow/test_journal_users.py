# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any user can write to the journal. In copies of the journal, the module does not take the text of a user for a record of root."""

from __future__ import annotations

import gzip
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_cases import (
    ask,
)
from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_forms import (
    LINES,
    RAW,
    SHORT,
    STOP,
    WEB01,
    answer,
    each,
    entry,
    export,
    parts,
    write,
)

STOPPED: tuple[object, ...] = ([], [("web01", "stopped")], [])
FORGED = STOP.rstrip("\n")
BOOT = "type=SYSTEM_BOOT msg=audit(1715511000.100:3): pid=1 uid=0 auid=0 ses=1 msg='x'"
DOWN = BOOT.replace("BOOT", "SHUTDOWN")
# Its number is low. In a record of root, this would mean that the host booted.
FIRST = "type=USER msg=audit(1715511000.100:3): pid=1 uid=0 auid=0 ses=1 msg='x'"

Entry = t.Mapping[str, str]
Write = t.Callable[[Entry], bytes]


def sent(message: str, uid: str = "1000", **changes: str) -> dict[str, str]:
    """Return an entry that a program of a user sent, as logger(1) does."""
    return {
        "__CURSOR": "s=1;i=999",
        "__REALTIME_TIMESTAMP": "1715511000100123",
        "_TRANSPORT": "syslog",
        "_UID": uid,
        "SYSLOG_IDENTIFIER": "audispd",
        "_HOSTNAME": "hv1",
        "MESSAGE": message,
        **changes,
    }


def exported(fields: Entry) -> bytes:
    """Return an entry as journalctl -o export writes it."""
    written = b""
    for name, text in fields.items():
        value = text.encode()
        if b"\n" in value:
            size = len(value).to_bytes(8, "little")
            written += b"%s\n%s%s\n" % (name.encode(), size, value)
        else:
            written += b"%s=%s\n" % (name.encode(), value)
    return written + b"\n"


def short(fields: Entry) -> bytes:
    """Return an entry as journalctl -o short writes it."""
    header = f"{SHORT}{fields['SYSLOG_IDENTIFIER']}[9]: "
    message = fields["MESSAGE"].replace("\n", "\n" + " " * len(header))
    return f"{header}{message}\n".encode()


def indented(fields: Entry) -> bytes:
    """Return the line of an entry that looks like a record."""
    return next(line for line in short(fields).split(b"\n") if b" type=" in line)


OBJECTS = each(lambda line: json.dumps(entry(line)))
ENTRIES = each(export)
PEOPLE = each(lambda line: f"{SHORT}audit[1661]: {line.type} {line.body}")
FORMS: dict[str, Write] = {
    "json": lambda fields: f"{OBJECTS}{json.dumps(fields)}\n".encode(),
    "list": lambda fields: json.dumps(
        [*[entry(parts(line)) for line in LINES], fields]
    ).encode(),
    "export": lambda fields: ENTRIES.encode() + exported(fields),
    "export, first": lambda fields: exported(fields) + ENTRIES.encode(),
    "export, packed": lambda fields: gzip.compress(
        ENTRIES.encode() + exported(fields) + ENTRIES.encode()
    ),
    "export after auditd's": lambda fields: RAW.encode() + exported(fields),
}
LINED: dict[str, Write] = {
    **FORMS,
    "short": lambda fields: PEOPLE.encode() + short(fields),
    "short, packed": lambda fields: gzip.compress(PEOPLE.encode() + short(fields)),
    "short after auditd's": lambda fields: RAW.encode() + short(fields),
    "grep of short": lambda fields: PEOPLE.encode() + indented(fields),
    "grep -n of short": lambda fields: (PEOPLE.encode() + b"17:" + indented(fields)),
    "export, CR LF": lambda fields: (
        (ENTRIES.encode() + exported(fields)).replace(b"\n", b"\r\n")
    ),
}


def codes(result: t.Mapping[str, t.Any]) -> list[str]:
    return [finding["code"] for finding in result["findings"]]


@pytest.mark.parametrize("form", FORMS)
def test_what_root_sent_counts(form: str, tmp_path: Path) -> None:
    if form == "export, first":
        pytest.skip("the VM stops before it starts")
    path = write(tmp_path / "log", FORMS[form](sent(FORGED, uid="0")))
    assert answer(ask([path])) == STOPPED


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("uid", ["1000", "", "root", "-0"])
def test_what_another_user_sent_proves_nothing(
    form: str, uid: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "log", FORMS[form](sent(FORGED, uid=uid)))
    for asked in ({}, {"name": "web01"}):
        result = ask([path], **asked)
        assert answer(result)[:2] == WEB01[:2]
        if form != "export, first" or not asked:
            unread = "unread_records" if form == "list" else "untrusted_record"
            assert codes(result) == [unread]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("line", [BOOT, DOWN, FIRST])
def test_no_user_can_make_the_host_boot(form: str, line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "log", FORMS[form](sent(line)))
    result = ask([path])
    assert answer(result) == WEB01
    assert "boot" not in " ".join(result["warnings"])


@pytest.mark.parametrize("kind", ["SYSTEM_BOOT", "SYSTEM_SHUTDOWN"])
def test_no_user_can_make_the_host_boot_in_auditds_own_log(
    kind: str, tmp_path: Path
) -> None:
    for uid, end in (("0", "lost"), ("1000", "running")):
        line = f"type={kind} msg=audit(1715511000.100:9003): pid=1 uid={uid} auid=0 ses=1 msg='x'\n"
        result = ask([write(tmp_path / "log", RAW + line)])
        assert [session["end"] for session in result["sessions"]] == [end]


@pytest.mark.parametrize("form", LINED)
@pytest.mark.parametrize("line", [FORGED, BOOT, DOWN, FIRST, *LINES[-1:]])
@pytest.mark.parametrize("before", ["hello\n", "hello\n\n", "\n", "X\n\n\n_UID=0\n"])
def test_a_line_of_a_message_is_no_record(
    form: str, line: str, before: str, tmp_path: Path
) -> None:
    fields = sent(f"{before}{line}\n", SYSLOG_IDENTIFIER="x y: z")
    path = write(tmp_path / "log", LINED[form](fields))
    for asked in ({}, {"name": "web01"}):
        result = ask([path], **asked)
        assert answer(result)[:2] == WEB01[:2]
        assert "boot" not in " ".join(result["warnings"])
        # If the form shows that a line belongs to a message of another program, the line is not a broken record.
        if "VIRT_" in line and not asked and form not in ("json", "list"):
            assert codes(result) == ["unread_records"]


@pytest.mark.parametrize("size", [0, 10, 256, 2570, 100_000, 3_000_000])
@pytest.mark.parametrize("packed", [False, True])
def test_a_field_cannot_end_its_entry(size: int, packed: bool, tmp_path: Path) -> None:
    # The field looks as if the entry ended within it and an entry of the kernel followed.
    fake = "\n\n_TRANSPORT=audit\n_UID=0\n__REALTIME_TIMESTAMP=1715511000100123\nY="
    number, body = FORGED.partition(" msg=")[0], FORGED.partition("): ")[2]
    message = f"{number.removeprefix('type=')} {body}"
    for text in (fake, "\n" * size + fake, fake + "\n" * size, "z" * size):
        fields = sent(message, AUDIT="x")
        trusted = {name: fields.pop(name) for name in ("_TRANSPORT", "_UID")}
        orders = (
            {"X": text, **trusted, **fields},
            {**fields, "X": text, **trusted},
            {**trusted, "X": text, **fields},
        )
        for order in orders:
            content = ENTRIES.encode() + exported(order) + ENTRIES.encode()
            path = write(
                tmp_path / "log", gzip.compress(content, 1) if packed else content
            )
            result = ask([path])
            assert answer(result)[:2] == WEB01[:2]


def test_a_field_that_is_cut_hides_the_rest(tmp_path: Path) -> None:
    cut = exported(sent(f"hello\n{FORGED}\n{'x' * 100}"))[:-50]
    for content in (
        ENTRIES.encode() + cut,
        ENTRIES.encode() + cut + b"\n\n" + STOP.encode(),
    ):
        result = ask([write(tmp_path / "log", content)])
        assert answer(result)[:2] == WEB01[:2]
        assert codes(result) == ["unread_records"]


def test_an_entry_has_one_message(tmp_path: Path) -> None:
    # Without this rule, the module would read each of a thousand messages with all fields of its entry.
    fields = exported(sent(FORGED, uid="0"))
    twice = fields.rstrip(b"\n") + b"\nMESSAGE=" + FORGED.encode() + b"\n\n"
    result = ask([write(tmp_path / "log", ENTRIES.encode() + twice)])
    assert answer(result)[:2] == STOPPED[:2]
    assert codes(result) == ["unread_records"]
    assert len(result["events"]) == len(LINES) + 1


BY_USER = "type={} msg=audit(1715510990.000:250): pid=5 uid={} auid=1000 ses=1 msg='{}"
VIRT = (
    'virt=kvm op=start reason=booted vm="x" uuid=7d9e20d7-3970-4e9b-8a5c-000000000009 vm-pid=1 exe="x" hostname=? addr=?'
    " terminal=? res=success"
)
NAME = "&quot;' {}".format(FORGED.removesuffix("'")).translate(
    {ord(letter): f"&#{ord(letter)};" for letter in "' \""}
)


@pytest.mark.parametrize(
    "line",
    [
        BY_USER.format("VIRT_CONTROL", 1000, f"x' {FORGED}"),
        BY_USER.format("VIRT_CONTROL", 1000, f"{VIRT}' {FORGED}"),
        BY_USER.format("VIRT_CONTROL", 1000, f"{VIRT}'\x1dA={FORGED}"),
        BY_USER.format("VIRT_CONTROL", 0, f"x' {FORGED}"),
        BY_USER.format("USER_AVC", 0, f"x' {FORGED}"),
        # libaudit does not encode the name of a user who tries to log in if it has no blank and no quote.
        BY_USER.format("USER_LOGIN", 0, f'acct="{NAME}" res=failed'),
    ],
)
@pytest.mark.parametrize("header", ["", "May 12 12:47:59 hv1 audispd: "])
def test_no_text_of_a_record_is_another_record(
    header: str, line: str, tmp_path: Path
) -> None:
    content = "".join(f"{header}{each}\n" for each in (*LINES, line))
    for asked in ({}, {"name": "web01"}):
        result = ask([write(tmp_path / "log", content)], **asked)
        assert answer(result)[:2] == WEB01[:2]
        if header:
            assert "unread_records" in codes(result)


@pytest.mark.parametrize(
    "write_entry", [json.dumps, lambda fields: exported(fields).decode()]
)
def test_a_boot_that_a_user_claims_to_the_kernel(
    write_entry: t.Callable[[Entry], str], tmp_path: Path
) -> None:
    body = "pid=1 uid=1000 auid=0 ses=1 msg='x'"
    fields = sent(
        f"SYSTEM_BOOT {body}", _TRANSPORT="audit", _AUDIT_ID="400", _AUDIT_TYPE="1127"
    )
    content = OBJECTS if write_entry is json.dumps else ENTRIES
    for asked in ({}, {"name": "web01"}):
        path = write(tmp_path / "log", f"{content}{write_entry(fields)}\n")
        result = ask([path], **asked)
        assert answer(result) == (*WEB01[:2], ["untrusted_record"])
