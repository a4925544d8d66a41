# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds records that stand in several of the logs, so that each counts once. Pure.

A log may be given twice, packed or in another form, or as it was on several days.
"""

from __future__ import annotations

import collections

from .items import Boot, Forged, Item, Mark, serial_of
from .marked import is_marked
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
        # Marked boots that wait for the next record of their log, and those at the end of a log.
        self._waiting: list[Boot] = []
        self._ended: list[Boot] = []
        # The time of the newest record of root's about a VM.
        self._latest = 0.0

    def log_ends(self) -> None:
        """Go on to the next log. Within one log, two equal lines without a number are two records.

        In two logs, they are copies of one record.
        """
        self._ended += [boot for boot in self._waiting if not self._is_amid(boot)]
        self._waiting = []
        self._earlier |= self._of_log
        self._of_log.clear()
        # The next log may begin with copies.
        self._amid_copies = True

    def new(self, item: Item) -> list[Item]:
        """Return a record, unless it was read before, and before it the boots that waited.

        A marked boot has no number and no certain time. It was read before if the next record of its log and host
        was.
        """
        if isinstance(item, Boot) and is_marked(item):
            self._waiting.append(item)
            return []
        known = self.is_copy(item)
        found: list[Item] = self.rest()
        if isinstance(item, Logged) and is_root(item):
            self._latest = max(self._latest, item.time)
            mine = [boot for boot in self._waiting if boot.node == item.node]
            found += () if known else mine
            self._waiting = [boot for boot in self._waiting if boot.node != item.node]
        return found if known else [*found, item]

    def rest(self) -> list[Item]:
        """Return the boots at the ends of the logs that were read."""
        found, self._ended = self._ended, []
        return [*found]

    def _is_amid(self, boot: Boot) -> bool:
        """Tell whether a boot that no record of its log follows comes after a copy, and before other known records."""
        return self._amid_copies and 0 < boot.time < self._latest

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


def _text(item: Item) -> tuple[object, ...]:
    if isinstance(item, Logged):
        # If a user sends the same text as a record of root, it is not a copy of that record.
        fields = item.record.fields.items()
        return (item.record.type, item.pid, is_root(item), *fields)
    return (
        type(item).__name__,
        *(value for name, value in vars(item).items() if name not in ("node",)),
    )
