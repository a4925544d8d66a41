# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the places of a log between which the kernel's numbers start again. Pure."""

from __future__ import annotations

from .items import Item, Mark, serial_of
from .order import boots_between

# The offset of a line, and its length.
Place = tuple[int, int]


class Falls:
    """Finds the records between which the kernel's numbers start again, whichever VMs they are about."""

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
            # A host whose name was changed goes on under another name.
            self._places += [*self._last(), place]
        elif boots_between(newest[0], item):
            self._places += [newest[1], place]
        elif number <= serial_of(newest[0].event):
            return
        self._newest[item.node] = (item, place)

    def all(self) -> list[Place]:
        """Return their places. The last record of each host is among them, because the log may go on after a boot."""
        return [*self._places, *self._last()]

    def _last(self) -> list[Place]:
        return [place for _item, place in self._newest.values()]
