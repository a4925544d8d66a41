# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option ``ticket``: why a task is run, in the words of whoever runs it. Pure."""

from __future__ import annotations

from .._errors import OptionError

MAX_TICKET_BYTES = 256


def parse_ticket(text: str | None) -> str | None:
    """Check the option ``ticket``; return it, and ``None`` where it is empty, as from a variable that is not set.

    Any text without a NUL byte is one: records carry what could end or forge a field in hex.
    Raises :class:`OptionError`.
    """
    if not text:
        return None
    if "\0" in text:
        raise OptionError("ticket", "a ticket cannot hold a NUL byte")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise OptionError("ticket", f"{text!r} is no text that UTF-8 can hold") from exc
    if size > MAX_TICKET_BYTES:
        raise OptionError(
            "ticket",
            f"the ticket has {size} bytes; at most {MAX_TICKET_BYTES} fit into a record",
        )
    return text
