# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts the records that were read from the logs, notes the first and last times, and keeps the events that
the task asks for.
"""

from __future__ import annotations

import typing as t

from .._log.copies import Copies
from .._log.items import Item, Mark
from .._log.parse import Logged, is_root, macs_of, uuid_of
from .._log.wanted import Wanted

# The times of neighbours in a log may differ by this much the wrong way round.
_LATE_SECONDS = 60.0


class Counted:
    """Passes on each record once, counts the records, and keeps the events that the task asks for.

    ``first`` and ``last`` are the times of the first and the last record, in seconds since the epoch.
    """

    def __init__(self, copies: Copies | None, wanted: Wanted, keep: bool) -> None:
        self.copies = copies
        # Whether any record, of any time, has what the task asks for.
        self.met = wanted.any_vm()
        self.records = self.controls = 0
        self.first = self.last = 0.0
        # The hosts in the records of VMs.
        self.nodes: set[str | None] = set()
        # The first two times of records without a number that go back. Nothing but their order in the log tells which came first.
        self.back: tuple[float, float] | None = None
        self._unnumbered: dict[str | None, float] = {}
        self.events: list[dict[str, t.Any]] = []
        self._wanted, self._keep = wanted, keep

    def of(self, items: t.Iterable[Item]) -> t.Iterator[Item]:
        """Yield the records."""
        found = self._keep_events(items)
        for item in found if self.copies is None else self.copies.once(found):
            self._count(item)
            yield item

    def _keep_events(self, items: t.Iterable[Item]) -> t.Iterator[Item]:
        """Yield the records, and keep the events that the task asks for, copies too."""
        wanted = self._wanted
        for item in items:
            look = isinstance(item, Logged) and (self._keep or not self.met)
            if isinstance(item, Logged) and look and _is_asked(item, wanted):
                self.met = True
                if self._keep and not wanted.is_too_old(item):
                    self.events.append(_event(item))
            yield item

    def _count(self, item: Item) -> None:
        if isinstance(item, Mark):
            return
        self.records += 1
        self.last = max(self.last, item.time)
        if not self.first or item.time < self.first:
            self.first = item.time
        if isinstance(item, Logged):
            self.nodes.add(item.node)
            self.controls += item.record.type != "VIRT_RESOURCE"
            # Nearly all records have a number, so this test comes first.
            if item.event.endswith(":0") and is_root(item):
                self._compare(item)

    def _compare(self, item: Logged) -> None:
        """Compare the time of a record without a number with those of its host before it."""
        newest = self._unnumbered.get(item.node, 0.0)
        if self.back is None and item.time < newest - _LATE_SECONDS:
            self.back = (newest, item.time)
        self._unnumbered[item.node] = max(item.time, newest)


def _is_asked(logged: Logged, wanted: Wanted) -> bool:
    fields = logged.record.fields
    return (
        wanted.name in (None, fields.get("vm"))
        and wanted.uuid in (None, uuid_of(logged))
        and (wanted.mac is None or wanted.mac in macs_of(logged))
    )


def _event(logged: Logged) -> dict[str, t.Any]:
    return {
        "type": logged.record.type,
        "event": logged.event,
        "node": logged.node,
        "pid": logged.pid,
        "uid": logged.uid,
        "auid": logged.auid,
        "ses": logged.ses,
        "fields": dict(logged.record.fields),
    }
