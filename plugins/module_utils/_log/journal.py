# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads records from the journal's forms (``journalctl(1)``, ``systemd.journal-fields(7)``).

The journal keeps the text of each record and, apart from the text, the kernel's time and number. The forms for
people have no number, and times to the second. A record from these gets the number 0 and keeps its place in the
file.
"""

from __future__ import annotations

import re
import typing as t

from .._audit.record import MESSAGE_TYPES
from .clock import STAMP, Clock

# If the text before a record is longer than this, it is not a header.
LONGEST_HEADER = 1000
# A journal that was built without libaudit, and the first ones that read records, have no names for these types.
_TYPE = r"(?P<type>VIRT_[A-Z_]+|SYSTEM_BOOT|SYSTEM_SHUTDOWN|AUDIT(?:250[0-2]|112[78])|<audit-(?:250[0-2]|112[78])>)"
# journalctl indents the second line of a message by the width of the header, which is always more than this.
WIDEST_INDENT = 15
# The text that grep, a mail or a syslog puts before the line, and the host, which journalctl
# --no-hostname leaves out.
_BEFORE = (
    r"(?:[^\s'\"=<>{/.]*[/.][^\s'\"=]*[:-])?(?:\d{1,12}[:-])?"
    rf"[\s>|*]{{0,{WIDEST_INDENT}}}(?:<\d{{1,3}}>)?"
)
_SHORT = re.compile(
    rf"{_BEFORE}(?:(?P<stamp>{STAMP})|\[ *\d{{1,12}}\.\d{{1,12}}[^\]]{{0,60}}\]) (?:(?P<host>[^\s:\[]+) )?(?P<tag>[^\s:\[]+)(?:\[(?P<sender>\d+)\])?: {_TYPE} ",
    re.ASCII,
)
# The same in the frame of RFC 5424.
_FRAMED = re.compile(
    rf"(?:<\d{{1,3}}>)?1 (?P<stamp>{STAMP}) (?P<host>\S+) (?P<tag>\S+) (?P<sender>\S+) \S+ (?:-|\[[^\]\\]*\]) {_TYPE} ",
    re.ASCII,
)
_STAMPED = re.compile(rf"{_BEFORE}(?:{STAMP}|\[ *\d{{1,12}}\.\d{{1,12}})\b", re.ASCII)
_CAT = re.compile(
    rf"\s{{0,{WIDEST_INDENT}}}{_TYPE} (?P<body>(?:user )?pid=.*)", re.ASCII
)
_NUMBER = re.compile(r"\d{1,17}", re.ASCII)
_NOBODY = 65534
_NAMES = {
    1127: "SYSTEM_BOOT",
    1128: "SYSTEM_SHUTDOWN",
    **{number: name for name, number in MESSAGE_TYPES.items()},
}
_NUMBERS = {
    text: name
    for number, name in _NAMES.items()
    for text in (f"AUDIT{number}", f"<audit-{number}>")
}


def journal_line(text: str, clock: Clock) -> tuple[str | None, str | None, str | None]:
    """Read a line of the forms for people.

    Return the line that auditd would have written, the host, and why the line cannot be read.
    """
    # The code matches only the header, so a long text behind it takes no time.
    header = text[:LONGEST_HEADER]
    match = _SHORT.match(header) or _FRAMED.match(header)
    body = text[match.end() :] if match is not None else "\n"
    if match is not None and "\n" not in body:
        if "audi" not in match["tag"].lower() and not body.startswith(
            f"pid={match['sender']} "
        ):
            return (
                None,
                None,
                f"its tag is {match['tag']!r}, and so another program than the audit system wrote it",
            )
        time = clock.read(match["stamp"]) if match["stamp"] else None
        if time is None:
            return (
                None,
                None,
                "it has no date and time; use journalctl -o json or -o export",
            )
        return line_of(match["type"], time, None, body), match["host"], None
    match = _CAT.fullmatch(text)
    if match is not None:
        return line_of(match["type"], clock.none(), None, match["body"]), None, None
    return None, None, None


def is_audit_tag(tag: str) -> bool:
    """Tell whether the name of a program in syslog is that of the audit system or of the kernel."""
    return "audi" in tag.lower() or tag in ("kernel", "-")


def is_stamped(text: str) -> bool:
    """Tell whether a line begins with a time. In the forms for people, the first line of each message does."""
    return _STAMPED.match(text) is not None


class Sender(t.NamedTuple):
    """The user other than root whom the journal names as the sender of an entry.

    ``time`` is when the journal got a line from a program, or ``None`` if the kernel made the record. A program that
    sends a line to the journal chooses all its content, also its time and its number.
    """

    uid: int
    time: float | None = None


def sender_of(fields: t.Mapping[str, t.Any]) -> Sender | None:
    """Return the sender of an entry, or ``None`` if root sent it or if the entry does not name its sender."""
    if "_UID" not in fields:
        return None
    uid = str(fields["_UID"])
    # If the value is not a number, the sender does not count as root.
    number = int(uid) if _NUMBER.fullmatch(uid) else _NOBODY
    if not number:
        return None
    stamp = str(fields.get("__REALTIME_TIMESTAMP"))
    time = int(stamp) / 1e6 if _NUMBER.fullmatch(stamp) else 0.0
    return Sender(number, None if fields.get("_TRANSPORT") == "audit" else time)


def boot_id_of(fields: t.Mapping[str, t.Any]) -> str | None:
    """Return the boot in which the journal got an entry."""
    boot_id = fields.get("_BOOT_ID")
    return boot_id if isinstance(boot_id, str) and boot_id else None


def fields_of(block: str) -> dict[str, str]:
    """Return the fields of an entry of the export form."""
    lines = [line.rstrip("\r") for line in block.split("\n")]
    return dict(line.split("=", 1) for line in lines if "=" in line)


def read_entry(fields: t.Mapping[str, t.Any]) -> tuple[str | None, str | None]:
    """Read an entry from its fields.

    Return the line that auditd would have written and the host, or nothing if the entry is no record.
    """
    transport = fields.get("_TRANSPORT")
    message = fields.get("MESSAGE")
    if isinstance(message, list):
        # The journal has a text that is not UTF-8 as a list of bytes.
        try:
            message = bytes(message).decode("utf-8", "surrogateescape")
        except (TypeError, ValueError):
            return None, None
    if transport not in (None, "audit") or not isinstance(message, str):
        return None, None
    host = fields.get("_HOSTNAME")
    match = _CAT.fullmatch(message)
    try:
        stamp = (
            fields.get("_SOURCE_REALTIME_TIMESTAMP") or fields["__REALTIME_TIMESTAMP"]
        )
        time, number = int(stamp) / 1e6, fields.get("_AUDIT_ID")
        number = None if number is None else str(int(number))
    except (KeyError, TypeError, ValueError, OverflowError):
        # A number may be infinite or very large.
        return None, None
    if match is None:
        return None, None
    return line_of(match["type"], time, number, match["body"]), (
        host if isinstance(host, str) else None
    )


def line_of(kind: str, time: float, number: str | None, body: str) -> str:
    """Return the line that auditd would have written."""
    milliseconds = round(time * 1000)
    event = f"{milliseconds // 1000}.{milliseconds % 1000:03d}:{number or 0}"
    return f"type={_NUMBERS.get(kind, kind)} msg=audit({event}): {body}"
