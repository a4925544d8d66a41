# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the kernel's serial number from any record, and the sender of a record of a boot or a shutdown. Pure."""

from __future__ import annotations

import re

from .._audit.record import known_id
from .items import Forged, Mark

_ENDINGS = frozenset(("SYSTEM_BOOT", "SYSTEM_SHUTDOWN"))
# The text that the kernel writes about the sender of a record.
_SENDER = re.compile(
    r"(?:user )?pid=(\d{1,10}) uid=([^\s']+)(?: auid=(\d{1,10}))?", re.ASCII
)
_ROOT = frozenset(("0", "root"))


def mark_of(text: str, head: re.Match[str]) -> Mark:
    """Return the mark of a line with this head."""
    event, time, node = head["event"], float(head["time"]), head["node"]
    sender = _SENDER.match(text, head.end()) if head["type"] in _ENDINGS else None
    if sender is None or sender[2] in _ROOT:
        return Mark(event, time, node)
    return Forged(
        event=event,
        time=time,
        node=node,
        type=head["type"],
        pid=int(sender[1]),
        user=sender[2],
        auid=None if sender[3] is None else known_id(sender[3]),
    )
