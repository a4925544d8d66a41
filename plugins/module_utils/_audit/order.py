# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings records into the order in which the kernel made them. Pure.

The order of the file, corrected by the serial numbers among neighbours: the kernel may queue two
records of the same moment the wrong way round. Times are no help, a clock can be set back. A serial
number that falls by more than that means a new boot: within one, it only rises.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .log import Boot, Item, serial_of

_WINDOW = 64
# Neighbours that changed places were made within this time of one another.
_SAME_MOMENT_SECONDS = 2.0


@dataclasses.dataclass
class _Stream:
    """The records of one host that wait: (serial, position, record)."""

    waiting: list[tuple[int, int, Item]] = dataclasses.field(default_factory=list)
    last_serial: int = -1
    last_time: float = 0.0


def in_order(items: t.Iterable[Item]) -> t.Iterator[Item]:
    """Yield the records of each host in order, a :class:`Boot` between those of two boots."""
    streams: dict[str | None, _Stream] = {}
    for position, item in enumerate(items):
        stream = streams.setdefault(item.node, _Stream())
        serial = serial_of(item.event)
        apart = abs(item.time - stream.last_time) > _SAME_MOMENT_SECONDS
        booted = serial < stream.last_serial and apart
        if booted or isinstance(item, Boot):
            yield from _drain(stream.waiting, 0)
            stream.last_serial = -1
            yield (
                item
                if isinstance(item, Boot)
                else Boot(item.event, item.time, item.node)
            )
        if not isinstance(item, Boot):
            stream.waiting.append((serial, position, item))
            # Not at each record: to sort what is nearly in order takes next to nothing.
            if len(stream.waiting) >= 2 * _WINDOW:
                yield from _drain(stream.waiting, _WINDOW)
        if serial > stream.last_serial:
            stream.last_serial, stream.last_time = serial, item.time
    for stream in streams.values():
        yield from _drain(stream.waiting, 0)


def _drain(waiting: list[tuple[int, int, Item]], left: int) -> t.Iterator[Item]:
    waiting.sort()
    ready = waiting[: max(0, len(waiting) - left)]
    del waiting[: len(ready)]
    for _serial, _position, item in ready:
        yield item
