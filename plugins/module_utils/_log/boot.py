# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out from this host's own logs when the host booted, because not every boot leaves a record."""

from __future__ import annotations

import dataclasses
import typing as t

from .._audit.kernel import DRIVERS, Kind, Majors
from .files import LogFile
from .items import Boot, Forged, Item, Mark, serial_of
from .lines import marks, typed_marks
from .nodes import OwnNodes
from .order import boots_between

_CHUNK_BYTES = 65536
# Records that may follow the record of a shutdown.
_GOING_DOWN = frozenset(("SERVICE_STOP", "CONFIG_CHANGE", "BPF"))


@dataclasses.dataclass(frozen=True)
class Host:
    """This host: the names that its records may carry, and when it booted, in seconds since the epoch.

    ``majors`` are the major numbers of its macvtap and vhost-vdpa nodes, or ``None`` if they are not known.
    """

    nodes: t.Container[str | None]
    booted: float
    majors: Majors | None = None

    @classmethod
    def this(cls) -> Host:
        """Return the host that this runs on (``proc(5)``: btime in /proc/stat). Raises :class:`OSError`."""
        booted = 0.0
        with open("/proc/stat", encoding="ascii") as handle:
            for line in handle:
                if line.startswith("btime "):
                    booted = float(line.split()[1])
        return cls(OwnNodes(), booted, Majors(_kinds_by_major(), booted))


def _kinds_by_major() -> dict[int, Kind]:
    found: dict[int, Kind] = {}
    with open("/proc/devices", encoding="ascii") as handle:
        for line in handle:
            number, _blank, name = line.strip().partition(" ")
            if name in DRIVERS:
                found[int(number)] = DRIVERS[name]
    return found


def boot_mark(logs: t.Sequence[LogFile], host: Host) -> Mark | None:
    """Return the first record since the host booted, or ``None`` if the logs do not have it.

    The serial numbers show which one it is, because they start again with each boot. The clock alone does not
    show it, because somebody may have set the clock. This function looks only at a few places of the logs, and
    not into compressed ones. Raises :class:`OSError`.
    """
    newer = None
    for log in reversed(logs):
        if log.compressed:
            return newer
        begin = next(_marks(log, 0, host), None)
        if begin is not None and begin.time < host.booted:
            return _within(log, host) or newer
        newer = begin or newer
    return None


def shutdowns(log: LogFile) -> list[Boot | Forged]:
    """Return the shutdowns of hosts at the end of a kept log, also those that a user other than root claims.

    The code does not search a compressed log for them. Raises :class:`OSError`.
    """
    down: dict[str | None, Boot | Forged] = {}
    for kind, mark in typed_marks(log.tail()):
        if isinstance(mark, Forged):
            down.setdefault(mark.node, dataclasses.replace(mark, apart=True))
        elif kind == "SYSTEM_SHUTDOWN":
            down[mark.node] = Boot(mark.event, mark.time, mark.node, down=True)
        elif kind not in _GOING_DOWN and not kind.startswith("VIRT_"):
            down.pop(mark.node, None)
        elif mark.node in down and boots_between(down[mark.node], mark):
            # The host has booted since.
            del down[mark.node]
    return list(down.values())


def without_containers(
    items: t.Iterable[Item], host: Host | None, mark: Mark | None
) -> t.Iterator[Item]:
    """Yield records. Replace a boot record of this host with an ordinary mark if the host has not booted since ``mark``.

    In this case a container sent the record. ``mark`` is the result of :func:`boot_mark`. It is ``None`` if all records
    were made since the boot.
    """
    for item in items:
        if (
            isinstance(item, Boot)
            and host is not None
            and item.node in host.nodes
            and item.time >= host.booted
            and (mark is None or _follows(item, mark))
        ):
            yield Mark(item.event, item.time, item.node)
        else:
            yield item


def _follows(item: Item, mark: Mark) -> bool:
    later = serial_of(item.event) > serial_of(mark.event)
    return later and item.time >= mark.time


def with_mark(items: t.Iterable[Item], mark: Mark | None) -> t.Iterator[Item]:
    """Yield records with the mark at its place in time, but not before a record with a lower number.

    Such a record is older than the mark, although somebody may have set the clock of the host back after it.
    """
    for item in items:
        if (
            mark is not None
            and item.node == mark.node
            and item.time >= mark.time
            and serial_of(item.event) >= serial_of(mark.event)
        ):
            yield mark
            mark = None
        yield item
    if mark is not None:
        yield mark


class Boots:
    """Finds the boots of hosts in their records. The caller gives the records from the last to the first.

    ``first`` is the first record that is known after the boot that was found last.
    """

    def __init__(self, mark: Mark | None) -> None:
        self.first: Item | None = None
        self._mark = mark
        self._newer: dict[str | None, Item] = {}

    def after(self, item: Item) -> bool:
        """Tell whether the host of a record booted between it and the records that were read before."""
        newer = self._newer.get(item.node)
        booted = newer is not None and boots_between(item, newer)
        if booted:
            self.first = newer
        if self._is_marked(item) and not (booted and self._is_older(newer)):
            booted, self.first = True, self._mark
        lowest = newer is None or serial_of(item.event) < serial_of(newer.event)
        if booted or lowest or isinstance(item, Boot):
            self._newer[item.node] = item
        elif isinstance(newer, Boot):
            # The record before the boot record shows that the host did not boot.
            self._newer[item.node] = Mark(newer.event, newer.time, newer.node)
        return booted

    def _is_older(self, item: Item | None) -> bool:
        mark = self._mark
        return item is not None and mark is not None and item.time < mark.time

    def _is_marked(self, item: Item) -> bool:
        """Tell whether a record is of an earlier boot than the mark.

        Such a record is older, and has a higher number.
        """
        mark = self._mark
        return (
            mark is not None
            and item.node == mark.node
            and self._is_older(item)
            and serial_of(item.event) > serial_of(mark.event)
        )


def _within(log: LogFile, host: Host) -> Mark | None:
    """Return the first record since the boot from a log that begins before the boot."""
    lower, upper = 0, log.size
    while upper - lower > _CHUNK_BYTES:
        middle = (lower + upper) // 2
        found = next(_marks(log, middle, host), None)
        if found is not None and found.time < host.booted:
            lower = middle
        else:
            upper = middle
    for position in (lower, lower + _CHUNK_BYTES):
        for found in _marks(log, position, host):
            if found.time >= host.booted:
                return found
    return None


def _marks(log: LogFile, position: int, host: Host) -> t.Iterator[Mark]:
    text = log.read_at(position, 2 * _CHUNK_BYTES)
    if position:
        # The piece begins within a line.
        text = text.partition(b"\n")[2]
    return (mark for mark in marks(text) if mark.node in host.nodes)
