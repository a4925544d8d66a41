# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boots that the journal marks between its entries. A mark has no number, and names no host. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from .items import Boot, Item, serial_of
from .parse import Logged


def is_marked(item: Item) -> bool:
    """Tell whether the journal says that the host booted, and no record of the kernel with a number."""
    return isinstance(item, Boot) and not serial_of(item.event)


def with_hosts(items: t.Iterable[Item]) -> t.Iterator[Item]:
    """Yield the records of a log. Give each boot without a host the host of the next record of a VM, or else of the last one.

    In a journal of several hosts, a mark may also show only that entries of another host follow. Such a boot is left out.
    """
    hosts = _Hosts()
    for item in items:
        if isinstance(item, Boot) and item.node is None and is_marked(item):
            hosts.boots.append(item)
            continue
        # When a host boots, it may not have its name yet.
        if isinstance(item, Logged):
            yield from hosts.before(item.node)
        yield item
    yield from hosts.rest()


class _Hosts:
    """The marked ``boots`` since the last record of a VM, the host of that record, and the last boot of each host."""

    def __init__(self) -> None:
        self.boots: list[Boot] = []
        # The host of the last record. It is empty before the first record, because a host may have no name.
        self._last: list[str | None] = []
        self._boot_ids: dict[str | None, str | None] = {}
        self._boot_id: str | None = None

    def before(self, node: str | None) -> list[Boot]:
        """Go on to a record of a host. Return the boots of that host before it."""
        booted = self.boots and self._has_booted(node)
        boots = _of_host(self.boots, node) if booted else []
        if self.boots:
            self._boot_id = self.boots[-1].boot_id
        self._boot_ids[node] = self._boot_id
        self.boots, self._last = [], [node]
        return boots

    def rest(self) -> list[Boot]:
        """Return the boots that no record of a VM follows. They are of the host of the last record."""
        return _of_host(self.boots, self._last[0] if self._last else None)

    def _has_booted(self, node: str | None) -> bool:
        new, old = self.boots[-1].boot_id, self._boot_ids.get(node)
        if new is not None and old is not None:
            return new != old
        return self._last in ([], [node])


def _of_host(boots: t.Sequence[Boot], node: str | None) -> list[Boot]:
    return [dataclasses.replace(boot, node=node) for boot in boots]
