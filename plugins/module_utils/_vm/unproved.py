# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records that the audit daemon has not written to its log: noted as not recorded."""

from __future__ import annotations

from .._audit.auditor import Auditor
from .._audit.record import Record
from .note import Note


def note_unproved(note: Note, auditor: Auditor) -> None:
    """Note what the audit daemon has not written to its log as not recorded.

    The next task reads the log, and records what is missing there.
    """
    auditor.prove_anyway()
    for event, record in auditor.unproved.items():
        _take_back(note, event, record)


def _take_back(note: Note, event: str, record: Record) -> None:
    """Note a NIC as it was before a record."""
    reason = record.fields.get("reason")
    nic = note.interfaces.get(
        record.fields.get("new-net")
        or record.fields.get("old-net")
        or record.fields.get("net")
        or ""
    )
    if nic is None:
        return
    if reason in ("detach", "close") and nic.phase == "revoked":
        nic.phase = "held"
    elif reason in ("start", "attach") and nic.phase == "held":
        nic.phase = "opening"
    elif reason == "open":
        # No close is due for an open that is not on record.
        nic.devices = [opened for opened in nic.devices if opened.event != event]
