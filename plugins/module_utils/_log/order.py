# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts records into the order in which the kernel made them. Pure.

It starts from the order of the file, and corrects neighbours by their serial numbers, for two reasons. The
kernel may queue two records of the same moment the wrong way round. And it writes the record of a system call
when the call ends, with the number and the time of the call's beginning. Times alone are no help, because
somebody may set the clock back. Within one boot the serial number only rises, so any other fall of it means a
new boot. Records without a number keep their place in the file.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from .items import Boot, Forged, Item, Mark, serial_of

_WINDOW = 64
# Only records that were made within this time of one another can have changed places.
_SAME_MOMENT_SECONDS = 2.0
# The kernel may write a record this long after it took the number. No host boots that fast.
_LATE_SECONDS = 60.0


@dataclasses.dataclass
class _Stream:
    """The records of one host that wait to be put in order: (serial, position, record)."""

    waiting: list[tuple[int, int, Item]] = dataclasses.field(default_factory=list)
    passed: tuple[int, Item | None] = (-1, None)
    newest: Item | None = None
    # The audit daemon has started after the newest record.
    daemon_started: bool = False

    def drain(self, left: int) -> t.Iterator[Item]:
        """Yield all waiting records but the last ``left``, in order.

        Yield each once, because a log may be given twice.
        """
        self.waiting.sort()
        ready = self.waiting[: max(0, len(self.waiting) - left)]
        del self.waiting[: len(ready)]
        for serial, _position, item in ready:
            if not serial_of(item.event) or (serial, item) != self.passed:
                yield item
            self.passed = serial, item


def in_order(
    items: t.Iterable[Item], doubts: list[Item] | None = None
) -> t.Iterator[Item]:
    """Yield the records of each host in order, with a :class:`Boot` between those of two boots.

    If only the numbers tell of a boot, add the first record after it to ``doubts``, because that record may be
    of another host.
    """
    streams: dict[str | None, _Stream] = collections.defaultdict(_Stream)
    for position, item in enumerate(items):
        if isinstance(item, Forged) and item.apart:
            yield item
            continue
        stream = streams[item.node]
        if isinstance(item, Mark) and item.daemon:
            stream.daemon_started = True
            continue
        newest = stream.newest
        number = serial_of(item.event)
        unnumbered_boot = isinstance(item, Boot) and not number
        if unnumbered_boot or (newest is not None and boots_between(newest, item)):
            if (
                not (stream.daemon_started or isinstance(item, Boot))
                and doubts is not None
            ):
                doubts.append(item)
            yield from stream.drain(0)
            stream.newest = newest = None
            yield Boot(item.event, item.time, item.node)
        stream.daemon_started = False
        # A record without a number comes after those that were read before it.
        serial = number or (serial_of(newest.event) if newest else 0)
        if not isinstance(item, Boot):
            stream.waiting.append((serial, position, item))
            # The code does not do this for each record. To sort what is nearly in order takes next
            # to no time.
            if len(stream.waiting) >= 2 * _WINDOW:
                yield from stream.drain(_WINDOW)
        if number and (newest is None or number > serial_of(newest.event)):
            stream.newest = item
    for stream in streams.values():
        yield from stream.drain(0)


def boots_between(older: Item, newer: Item) -> bool:
    """Tell whether a host booted between two of its records, which are neighbours in the log."""
    fell = serial_of(older.event) - serial_of(newer.event)
    earlier = older.time - newer.time
    if isinstance(newer, Boot):
        return newer.down or not _is_amidst(newer, fell, earlier)
    if not serial_of(newer.event):
        return False
    if fell <= 0 or abs(earlier) <= _SAME_MOMENT_SECONDS:
        return False
    # A record that is older by its number and by its time is only late.
    return earlier < 0 or (fell > 2 * _WINDOW and earlier > _LATE_SECONDS)


def _is_amidst(boot: Boot, fell: int, earlier: float) -> bool:
    """Tell whether a record of a boot is in the middle of the host's numbered records.

    In this case the systemd of a container sent it.
    """
    if 0 < -fell <= _WINDOW and abs(earlier) <= _LATE_SECONDS:
        return True
    # The numbers of a new boot begin near 1, so a low number may by chance be near the last number before the boot.
    if serial_of(boot.event) <= _WINDOW:
        return False
    if fell == -1:
        # No number is missing, so the host did not boot. It only made no record for some time.
        return True
    changed_places = 0 < fell <= _WINDOW
    return changed_places and abs(earlier) <= _SAME_MOMENT_SECONDS
