# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A record on its way to the audit daemon."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from .._errors import AuditError
    from .echo import Confirmation
    from .record import Record


class Sent:
    """A record that was sent. ``lost`` tells that it had to be proved that the kernel took it, and was not."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.number: int | None = None
        self.confirmation: Confirmation | None = None
        self.problem: AuditError | None = None
        self.lost = False

    @property
    def event(self) -> str | None:
        """Return its event id, ``None`` if the kernel did not confirm it."""
        return self.confirmation.event if self.confirmation else None
