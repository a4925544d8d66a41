# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the lines of the audit log that matter for VMs and their network devices.

A line is ``[node=N ]type=T msg=audit(<seconds>.<ms>:<serial>): ...``; an enriched one goes on with
0x1D and names. What a program or a person chose stands in quotes or in hex, and is never searched.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t
import zlib

from .._errors import RecordError
from .files import LogFile, Unread, host_logs
from .kernel import KernelOpen, known_id, parse_path, parse_tunsetiff
from .record import MESSAGE_TYPES, Record
from .scan import Line, lines_backwards, lines_with

_HEAD = (
    r"(?:node=(?P<node>[^\s'\"]+) )?type=(?P<type>%s)"
    r" msg=audit\((?P<event>(?P<time>\d{1,12}\.\d{1,3}):(?P<serial>\d{1,20}))\): ?"
)
_ANY = re.compile(_HEAD % "[A-Z_0-9]+", re.ASCII)
_VIRT = re.compile(
    _HEAD % "|".join(MESSAGE_TYPES)
    + r"pid=(?P<pid>\d{1,10}) uid=(?P<uid>\d{1,10}) auid=(?P<auid>\d{1,10})"
    r" ses=(?P<ses>\d{1,10})(?: subj=[^'\x1d]*?)? msg='(?P<text>[^\x1d\n]*)'(?:\x1d(?P<names>.*))?",
    re.ASCII,
)
_USER = re.compile(r'\bUID="([^"]*)"')
_BROKEN = (OSError, EOFError, zlib.error)

VIRT_NEEDLE = b"type=VIRT_"
BOOT_NEEDLE = b"type=SYSTEM_BOOT msg=audit("
# Character devices, and TUNSETIFF.
KERNEL_NEEDLES = (b" mode=020", b" a1=400454ca ")
ALERT_NEEDLES = (b"type=AVC msg=audit(", b"type=ANOM_")


@dataclasses.dataclass
class Logged:
    """A VIRT record as it stands in the log.

    ``time`` is in seconds since the epoch. ``pid`` and the identities are the kernel's words of
    the sender, ``auid`` and ``ses`` ``None`` where they are not set. ``user`` is the name of
    ``uid`` on the host that wrote the log, where the log has it.
    """

    event: str
    time: float
    record: Record
    node: str | None = None
    pid: int = 0
    uid: int = 0
    auid: int | None = None
    ses: int | None = None
    user: str | None = None


@dataclasses.dataclass(frozen=True)
class Boot:
    """The host booted."""

    event: str
    time: float
    node: str | None


@dataclasses.dataclass(frozen=True)
class Mark:
    """Some record: it shows how far the kernel has counted."""

    event: str
    time: float
    node: str | None = None


@dataclasses.dataclass(frozen=True)
class Alert:
    """An AVC or anomaly record; ``text`` is all after its head."""

    event: str
    time: float
    node: str | None
    type: str
    text: str


Item = t.Union[Logged, Boot, Mark, Alert, KernelOpen]


def parse_line(line: Line) -> Item | None:
    """Read one line; ``None`` when it is none of those that matter."""
    text = line.text.decode("utf-8", "surrogateescape")
    if text.startswith("type=VIRT_"):
        return _parse_virt(text)
    match = _ANY.match(text)
    if match is None:
        return None
    kind = match["type"]
    if kind in MESSAGE_TYPES:
        return _parse_virt(text)
    if kind == "PATH":
        return parse_path(text, match, line.before)
    if kind == "SYSCALL":
        return parse_tunsetiff(text, match)
    event, time, node = match["event"], float(match["time"]), match["node"]
    if kind == "SYSTEM_BOOT":
        return Boot(event, time, node)
    if kind == "AVC" or kind.startswith("ANOM_"):
        return Alert(event, time, node, kind, text[match.end() :].partition("\x1d")[0])
    return None


def read_log(
    log: LogFile, needles: t.Sequence[bytes], unread: list[Unread]
) -> t.Iterator[Item]:
    """Yield what matters in a log, first record first. A log that breaks off is added to ``unread``."""
    try:
        for line in lines_with(log, needles):
            item = parse_line(line)
            if item is not None:
                yield item
    except _BROKEN as exc:
        unread.append(Unread(log.path, f"it breaks off: {exc}"))


def last_mark(log: LogFile) -> Mark | None:
    """Return the last record of the kernel's in a log."""
    try:
        return collections.deque(marks(log.tail()), maxlen=1).pop()
    except (*_BROKEN, IndexError):
        return None


def marks(text: bytes) -> t.Iterator[Mark]:
    """Yield the records of the kernel's in a part of a log; the daemon's own count for themselves."""
    for line in text.decode("utf-8", "surrogateescape").split("\n"):
        match = _ANY.match(line)
        if match is not None and not match["type"].startswith("DAEMON_"):
            yield Mark(match["event"], float(match["time"]), match["node"])


def read_backwards(
    log: LogFile, needles: t.Sequence[bytes], unread: list[Unread]
) -> t.Iterator[Item]:
    """Yield the same, last record first, and reads no further than it is asked to."""
    try:
        for text in lines_backwards(log, needles):
            item = parse_line(Line(text))
            if item is not None:
                yield item
    except _BROKEN as exc:
        unread.append(Unread(log.path, f"it breaks off: {exc}"))


def records_of(uuid: str, since: float) -> list[Logged]:
    """Return a VM's records from ``since`` (seconds since the epoch) on, oldest first.

    Reads backwards, and no further than needed; rotated files are read too.
    """
    found: list[Logged] = []
    needle = f"uuid={uuid}".encode("ascii")
    with host_logs() as (logs, _unread):
        for log in reversed(logs):
            for item in read_backwards(log, [needle], []):
                if not isinstance(item, Logged):
                    continue
                if item.time < since:
                    found.reverse()
                    return found
                if item.record.fields.get("uuid") == uuid:
                    found.append(item)
            if log.first_event()[0] < since:
                break
    found.reverse()
    return found


def serial_of(event: str) -> int:
    """Return the number that the kernel gave an event; it counts up from each boot."""
    return int(event.rpartition(":")[2])


def _parse_virt(text: str) -> Logged | None:
    match = _VIRT.fullmatch(text)
    if match is None:
        return None
    try:
        record = Record.parse(match["type"], match["text"])
    except RecordError:
        return None
    node, _type, event, time, _serial, pid, uid, auid, ses, _text, names = (
        match.groups()
    )
    user = _USER.search(names) if names else None
    return Logged(
        event=event,
        time=float(time),
        record=record,
        node=node,
        pid=int(pid),
        uid=int(uid),
        auid=known_id(auid),
        ses=known_id(ses),
        user=user.group(1) if user else None,
    )
