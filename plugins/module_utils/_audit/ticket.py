# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option ``ticket``: why a task is run, in the words of whoever runs it. Pure."""

from __future__ import annotations

from .._text import check_text

MAX_TICKET_BYTES = 256


def parse_ticket(text: str | None) -> str | None:
    """Check the option ``ticket``; return it, and ``None`` where it is empty, as from a variable that is not set.

    Raises :class:`OptionError`.
    """
    return check_text("ticket", text, MAX_TICKET_BYTES) if text else None
