# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records as the journal has them (``journalctl(1)``, ``systemd.journal-fields(7)``).

Of each record the journal keeps the text, and apart from it the kernel's time and number. The forms for
people have no number, and times to the second: such a record gets the number 0, and stands where the file
has it.
"""

from __future__ import annotations

import re
import typing as t

from .clock import STAMP, Clock

_TYPE = r"(?P<type>VIRT_[A-Z_]+|SYSTEM_BOOT|SYSTEM_SHUTDOWN|AUDIT250[0-2])"
# What grep, a mail and a syslog put before it, and the host, which journalctl --no-hostname leaves out.
_BEFORE = r"(?:[^\s'\"=<>{]*[/.][^\s'\"=]*[:-])?(?:\d{1,12}[:-])?[\s>|*]*(?:<\d{1,3}>)?"
_SHORT = re.compile(
    rf"{_BEFORE}(?:(?P<stamp>{STAMP})|\[ *\d+\.\d+[^\]]*\]) (?:(?P<host>[^\s:\[]+) )?(?P<tag>[^\s:\[]+)(?:\[(?P<sender>\d+)\])?: {_TYPE} (?P<body>.*)",
    re.ASCII,
)
# The same in the frame of RFC 5424.
_FRAMED = re.compile(
    rf"(?:<\d{{1,3}}>)?1 (?P<stamp>{STAMP}) (?P<host>\S+) (?P<tag>\S+) (?P<sender>\S+) \S+ (?:-|\[[^\]\\]*\]) {_TYPE} (?P<body>.*)",
    re.ASCII,
)
_CAT = re.compile(rf"\s*{_TYPE} (?P<body>(?:user )?pid=.*)", re.ASCII)
_NUMBERS = {
    "AUDIT2500": "VIRT_CONTROL",
    "AUDIT2501": "VIRT_RESOURCE",
    "AUDIT2502": "VIRT_MACHINE_ID",
}


def journal_line(text: str, clock: Clock) -> tuple[str | None, str | None, str | None]:
    """Read a line of the forms for people; return auditd's line, the host, and why it cannot be read."""
    match = _SHORT.fullmatch(text) or _FRAMED.fullmatch(text)
    if match is not None:
        if "audi" not in match["tag"].lower() and not match["body"].startswith(
            f"pid={match['sender']} "
        ):
            return (
                None,
                None,
                f"its tag is {match['tag']!r}, which is not the audit system's",
            )
        time = clock.read(match["stamp"]) if match["stamp"] else None
        if time is None:
            return (
                None,
                None,
                "it has no date and time; use journalctl -o json or -o export",
            )
        return line_of(match["type"], time, None, match["body"]), match["host"], None
    match = _CAT.fullmatch(text)
    if match is not None:
        return line_of(match["type"], clock.none(), None, match["body"]), None, None
    return None, None, None


def fields_of(block: str) -> dict[str, str]:
    """Return the fields of an entry of the export form."""
    lines = [line.rstrip("\r") for line in block.split("\n")]
    return dict(line.split("=", 1) for line in lines if "=" in line)


def read_entry(fields: t.Mapping[str, t.Any]) -> tuple[str | None, str | None]:
    """Read an entry by its fields; return auditd's line and the host, nothing when it is no record."""
    transport = fields.get("_TRANSPORT")
    message = fields.get("MESSAGE")
    if isinstance(message, list):
        # A text that is no UTF-8 is a list of bytes there.
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
    except (KeyError, TypeError, ValueError):
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
