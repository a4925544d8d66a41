# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds records that stand in several of the logs, so that each counts once. Pure.

A log may be given twice, packed or in another form, or as it was on several days.
"""

from __future__ import annotations

import collections
import typing as t

from .items import Boot, Forged, Item, Mark, serial_of
from .parse import Logged, is_root

# A form for people has times in the time zone of the person who printed it. Zones differ by
# quarters of an hour.
_ZONE_SECONDS = 900
_ZONES_SECONDS = 26 * 3600
_ROUNDED_SECONDS = 1.5
# A search for a copy looks only at records of the same part of a quarter of an hour, and of the parts beside it. A part is
# longer than the difference between two copies.
_PART_SECONDS = 2
_PARTS = _ZONE_SECONDS // _PART_SECONDS
# So many records of a host at most wait. Any user can open a device often, and a log that has so many records of its own is no copy.
_MOST_WAITING = 100000

_Times = dict[tuple[int, int], list[float]]


class Copies:
    """Tells which records were read before. ``copies`` counts them.

    ``mixed`` tells that some logs have a form without numbers, so that only times can be compared.
    """

    def __init__(self, mixed: bool) -> None:
        self.copies = 0
        # Whether there were records with a number and records without one. Not all copies of these can be found.
        self.unnumbered = self.numbered = False
        self._mixed = mixed
        self._known: set[int] = set()
        # For each text of a record and each part of a quarter of an hour: the times of the copies with a number, and the
        # times of those without one.
        self._times: tuple[_Times, _Times] = ({}, {})
        self._earlier: collections.Counter[int] = collections.Counter()
        self._of_log: collections.Counter[int] = collections.Counter()
        # The time of the newest record of each host.
        self._newest: dict[str | None, float] = {}
        self._amid_copies = False
        # For each host that booted: the boot and what followed it, until a record of a VM shows whether that was read before.
        self._waiting: dict[str | None, list[Item]] = {}
        # The same at the end of a log, where no such record follows.
        self._ended: list[Item] = []
        # Whether the last record of root's about a VM in this log was read before.
        self._was_copy = False
        # The time of the newest record of root's about a VM.
        self._latest = 0.0

    def log_ends(self) -> None:
        """Go on to the next log. Within one log, two equal lines without a number are two records.

        In two logs, they are copies of one record.
        """
        for items in self._waiting.values():
            self._ended += _without_boot(items) if self._is_amid(items[0]) else items
        self._waiting = {}
        self._was_copy = False
        self._earlier |= self._of_log
        self._of_log.clear()
        # The next log may begin with copies.
        self._amid_copies = True

    def once(self, items: t.Iterable[Item]) -> t.Iterator[Item]:
        """Yield each record once."""
        for item in items:
            yield from self.new(item)
        yield from self.last()

    def new(self, item: Item) -> list[Item]:
        """Return a record, unless it was read before, and before it what waited for it.

        A boot was read before if the next record of its log and host about a VM was. Another log may have no record of the
        boot, or one without a number.
        """
        if isinstance(item, Boot) and not item.down:
            known = bool(serial_of(item.event)) and self._is_known(item)
            self.copies += known
            return self.rest() if known else [*self.rest(), *self._wait(item)]
        known = self.is_copy(item)
        found = self.rest()
        waiting = self._waiting.get(item.node)
        if isinstance(item, Logged) and is_root(item):
            self._latest, self._was_copy = max(self._latest, item.time), known
            if waiting is not None:
                found += _without_boot(waiting) if known else waiting
                del self._waiting[item.node]
        elif waiting is not None:
            return found if known else [*found, *self._wait(item)]
        return found if known else [*found, item]

    def _wait(self, item: Item) -> list[Item]:
        """Let a record wait. Return all that waited if it is too much."""
        waiting = self._waiting.setdefault(item.node, [])
        waiting.append(item)
        if len(waiting) < _MOST_WAITING:
            return []
        del self._waiting[item.node]
        return waiting

    def rest(self) -> list[Item]:
        """Return what waited at the ends of the logs that were read."""
        found, self._ended = self._ended, []
        return found

    def last(self) -> list[Item]:
        """Return what still waits when no record follows. Whoever reads logs backwards does not tell where each of them ends."""
        self.log_ends()
        return self.rest()

    def _is_amid(self, boot: Item) -> bool:
        """Tell whether a boot that no record of its log follows comes after a copy, and before other known records."""
        return self._was_copy and boot.time < self._latest

    def is_copy(self, item: Item) -> bool:
        """Tell whether a record was read before."""
        number = serial_of(item.event)
        if isinstance(item, Forged):
            # A record that proves nothing does not show whether a copy goes on.
            known = self._is_known(item)
            self.copies += known
            return known
        if isinstance(item, Mark):
            # Neither the end of a copy nor a boot within it means that the host booted.
            known = self._amid_copies and item.time <= self._newest.get(item.node, 0.0)
        else:
            known = self._is_known(item) if number else self._is_known_by_text(item)
            self.copies += known
            self._amid_copies = known
        if not known and (number or isinstance(item, Mark)):
            self._newest[item.node] = max(item.time, self._newest.get(item.node, 0.0))
        return known

    def _is_known(self, item: Item) -> bool:
        self.numbered = self.numbered or isinstance(item, Logged)
        key = hash((item.node, item.event, _text(item)))
        known = key in self._known or self._in_other_form(item, 0)
        self._known.add(key)
        return known

    def _is_known_by_text(self, item: Item) -> bool:
        if not isinstance(item, Logged):
            return False
        self.unnumbered = True
        key = hash((item.node, item.event, _text(item)))
        self._of_log[key] += 1
        return self._of_log[key] <= self._earlier[key] or self._in_other_form(item, 1)

    def _in_other_form(self, item: Item, mine: int) -> bool:
        """Tell whether a record with a number and one without a number have the same text and the same time."""
        if not self._mixed or not isinstance(item, Logged):
            return False
        text, second = hash(_text(item)), item.time % _ZONE_SECONDS
        mine_at = int(second // _PART_SECONDS)
        for part in (mine_at, mine_at - 1, mine_at + 1):
            others = self._times[1 - mine].get((text, part % _PARTS), [])
            for other in others:
                apart = abs(item.time - other)
                off = apart % _ZONE_SECONDS
                if (
                    apart <= _ZONES_SECONDS
                    and min(off, _ZONE_SECONDS - off) <= _ROUNDED_SECONDS
                ):
                    others.remove(other)
                    return True
        self._times[mine].setdefault((text, mine_at), []).append(item.time)
        return False


def _without_boot(items: t.Iterable[Item]) -> list[Item]:
    """Return what followed a boot that was read before. A mark would only show the boot again."""
    return [item for item in items if not isinstance(item, (Boot, Mark))]


def _text(item: Item) -> tuple[object, ...]:
    if isinstance(item, Logged):
        # If a user sends the same text as a record of root, it is not a copy of that record.
        fields = item.record.fields.items()
        return (item.record.type, item.pid, is_root(item), *fields)
    return (
        type(item).__name__,
        *(value for name, value in vars(item).items() if name not in ("node",)),
    )
