# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The question that a task asks the logs. Pure."""

from __future__ import annotations

import dataclasses

from .items import Item


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The VM and the NIC that a task asks about (``None`` means any), and the time, in seconds since the epoch."""

    name: str | None = None
    uuid: str | None = None
    mac: str | None = None
    since: float | None = None
    until: float | None = None

    def any_vm(self) -> bool:
        """Tell whether the task asks for no single VM."""
        return not (self.name or self.uuid or self.mac)

    def in_time(self, item: Item) -> bool:
        """Tell whether a record is not later than the time that the task asks for."""
        return self.until is None or item.time <= self.until

    def is_too_old(self, item: Item) -> bool:
        """Tell whether a record is older than ``since``."""
        return self.since is not None and item.time < self.since

    def is_before(self, item: Item) -> bool:
        """Tell whether a record is older than the time that the task asks for. Without ``since``, every record is."""
        return self.since is None or item.time < self.since
