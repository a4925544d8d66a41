# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the places in a log where the kernel's serial numbers start again. Pure."""

from __future__ import annotations

from .items import Item, Mark, serial_of
from .order import boots_between

# The offset of a line, and its length.
Place = tuple[int, int]


class Falls:
    """Finds each pair of records between which the kernel's numbers start again. The records can be about any VM."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._newest: dict[str | None, tuple[Item, Place]] = {}

    def take(self, item: Item, place: Place) -> None:
        """Take the next record and its place."""
        number = serial_of(item.event)
        newest = self._newest.get(item.node)
        if not number or (isinstance(item, Mark) and item.daemon):
            return
        if newest is None:
            # If somebody changes the name of a host, its records continue under the new name.
            self._places += [*self._last(), place]
        elif boots_between(newest[0], item):
            self._places += [newest[1], place]
        elif number <= serial_of(newest[0].event):
            return
        self._newest[item.node] = (item, place)

    def all(self) -> list[Place]:
        """Return the places of these records, and of the last record of each host, because the log may go on after a boot."""
        return [*self._places, *self._last()]

    def _last(self) -> list[Place]:
        return [place for _item, place in self._newest.values()]
