# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the lines of the audit log that matter for VMs and their network devices."""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t

from .._audit.kernel import KernelOpen, Major, parse_path, parse_tunsetiff
from .._audit.record import MESSAGE_TYPES
from .files import BROKEN, LogFile, Unread
from .forwards import lines_with
from .parse import HEAD, Logged, parse_virt
from .scan import Line, lines_backwards

_ANY = re.compile(HEAD % "[A-Z_0-9]+", re.ASCII)

VIRT_NEEDLE = b"type=VIRT_"
# Character devices, and TUNSETIFF.
KERNEL_NEEDLES = (b" mode=020", b" a1=400454ca a2=")
ALERT_NEEDLES = (b"type=AVC msg=audit(", b"type=ANOM_")


@dataclasses.dataclass(frozen=True)
class Boot:
    """The host booted, or with ``down`` went down; nothing that ran before has survived."""

    event: str
    time: float
    node: str | None
    down: bool = False


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


def parse_line(line: Line, macvtap: Major | None = None) -> Item | None:
    """Read one line; ``None`` when it is none of those that matter. ``macvtap`` is known of this host only."""
    # A log that went through Windows has a CR at each line's end.
    text = line.text.decode("utf-8", "surrogateescape").rstrip("\r")
    if text.startswith("type=VIRT_"):
        return parse_virt(text)
    match = _ANY.match(text)
    if match is None:
        return None
    kind = match["type"]
    if kind in MESSAGE_TYPES:
        return parse_virt(text)
    if kind == "PATH":
        return parse_path(text, match, line.before, macvtap)
    if kind == "SYSCALL":
        return parse_tunsetiff(text, match)
    event, time, node = match["event"], float(match["time"]), match["node"]
    if kind == "SYSTEM_BOOT":
        return Boot(event, time, node)
    if kind == "AVC" or kind.startswith("ANOM_"):
        return Alert(event, time, node, kind, text[match.end() :].partition("\x1d")[0])
    return None if kind.startswith("DAEMON_") else Mark(event, time, node)


def read_log(
    log: LogFile,
    needles: t.Sequence[bytes],
    unread: list[Unread],
    macvtap: Major | None = None,
) -> t.Iterator[Item]:
    """Yield what matters in a log, first record first. A log that breaks off is added to ``unread``."""
    try:
        for line in lines_with(log, needles):
            item = parse_line(line, macvtap)
            if item is not None:
                yield item
    except BROKEN as exc:
        unread.append(Unread(log.path, f"it breaks off: {exc}"))


def last_mark(log: LogFile) -> Mark | None:
    """Return the last record of the kernel's in a log."""
    try:
        return collections.deque(marks(log.tail()), maxlen=1).pop()
    except (*BROKEN, IndexError):
        return None


def marks(text: bytes) -> t.Iterator[Mark]:
    """Yield the records of the kernel's in a part of a log."""
    for _kind, mark in typed_marks(text):
        yield mark


def typed_marks(text: bytes) -> t.Iterator[tuple[str, Mark]]:
    """Yield the same, each with its type; the daemon's own records count for themselves."""
    for line in text.decode("utf-8", "surrogateescape").split("\n"):
        match = _ANY.match(line)
        if match is not None and not match["type"].startswith("DAEMON_"):
            mark = Mark(match["event"], float(match["time"]), match["node"])
            yield match["type"], mark


def read_backwards(
    log: LogFile, needles: t.Sequence[bytes], unread: list[Unread]
) -> t.Iterator[Item]:
    """Yield the same, last record first, and reads no further than it is asked to."""
    try:
        for text in lines_backwards(log, needles):
            item = parse_line(Line(text))
            if item is not None:
                yield item
    except BROKEN as exc:
        unread.append(Unread(log.path, f"it breaks off: {exc}"))


def serial_of(event: str) -> int:
    """Return the number that the kernel gave an event; it counts up from each boot."""
    return int(event.rpartition(":")[2])
