# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the audit daemon's log files.

Source: ``auditd.conf(5)``; a line is ``[node=N ]type=T msg=audit(<seconds>.<ms>:<serial>): ...``,
an enriched one goes on with 0x1D and names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import typing as t

from .._errors import RecordError
from .record import MESSAGE_TYPES, Record

_CONFIGURATION = "/etc/audit/auditd.conf"
_DEFAULT_LOG = "/var/log/audit/audit.log"
_LOG_FILE = re.compile(r"^\s*log_file\s*=\s*(\S+)", re.MULTILINE | re.IGNORECASE)
_BLOCK_BYTES = 65536
_TYPES = "|".join(MESSAGE_TYPES)
_LINE = re.compile(
    rf"(?:node=\S+ )?type=(?P<type>{_TYPES}) msg=audit\((?P<event>(?P<time>\d+\.\d+):\d+)\): "
    r"(?P<head>[^']*)msg='(?P<text>[^']*)'"
)
_TIME = re.compile(rb"msg=audit\((\d+\.\d+):\d+\)")


@dataclasses.dataclass(frozen=True)
class Logged:
    """A record as it stands in the log. ``time`` is in seconds since the epoch."""

    event: str
    time: float
    record: Record


def log_path() -> str:
    """Return the audit daemon's log file on this host."""
    try:
        with open(_CONFIGURATION, encoding="utf-8", errors="replace") as handle:
            match = _LOG_FILE.search(handle.read())
    except OSError:
        return _DEFAULT_LOG
    return match.group(1) if match else _DEFAULT_LOG


def records_of(uuid: str, since: float) -> list[Logged]:
    """Return a VM's records from ``since`` (seconds since the epoch) on, oldest first.

    Reads backwards, and no further than needed; rotated files are read too.
    """
    found: list[Logged] = []
    needle = f"uuid={uuid}".encode("ascii")
    for path in _newest_first(log_path()):
        reached = False
        for line in _lines_backwards(path):
            match = _TIME.search(line)
            if match is not None and float(match.group(1)) < since:
                reached = True
                break
            logged = _parse(line) if needle in line else None
            if logged is not None and logged.record.fields.get("uuid") == uuid:
                found.append(logged)
        if reached:
            break
    found.reverse()
    return found


def _parse(line: bytes) -> Logged | None:
    match = _LINE.match(line.decode("utf-8", "replace"))
    if match is None:
        return None
    try:
        record = Record.parse(match["type"], match["text"])
    except RecordError:
        return None
    return Logged(match["event"], float(match["time"]), record)


def _newest_first(path: str) -> t.Iterator[str]:
    """Yield the log and its rotated files; audit.log.1 is newer than audit.log.2."""
    yield path
    number = 1
    while os.path.exists(f"{path}.{number}"):
        yield f"{path}.{number}"
        number += 1


def _lines_backwards(path: str) -> t.Iterator[bytes]:
    """Yield a file's lines, last first. An unreadable file has none."""
    with contextlib.suppress(OSError), open(path, "rb") as handle:
        position = handle.seek(0, os.SEEK_END)
        rest = b""
        while position > 0:
            size = min(_BLOCK_BYTES, position)
            position -= size
            handle.seek(position)
            lines = (handle.read(size) + rest).split(b"\n")
            rest = lines[0]
            yield from reversed(lines[1:])
        yield rest
