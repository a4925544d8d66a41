# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A record on its way to the audit daemon."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from .._errors import AuditError, RecordError
    from .echo import Confirmation
    from .record import Record


class Sent:
    """A record that was sent. ``good`` tells that the kernel has taken it, or that nobody needs a proof of that."""

    def __init__(self, record: Record, good: bool = False) -> None:
        self.record = record
        self.good = good
        self.number: int | None = None
        self.confirmation: Confirmation | None = None
        self.problem: AuditError | RecordError | None = None

    @property
    def event(self) -> str | None:
        """Return its event id, or ``None`` if the kernel did not confirm the record."""
        return self.confirmation.event if self.confirmation else None

    @property
    def lost(self) -> bool:
        """Tell whether the task needs a proof that the kernel has taken it, and has none. The log may have it anyway."""
        return self.problem is not None and not self.good
