# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The note of a task's VM: made, completed, settled."""

from __future__ import annotations

from .._audit.auditor import Auditor
from .._audit.record import Record
from .._net import sysfs
from .note import NicNote, Note
from .session import Session


def note_of(session: Session) -> Note:
    """Return the VM's note, a new one for a VM that has none."""
    if session.note is None:
        session.note = session.new_note(session.virt(), started=False)
    return session.note


def noted(session: Session) -> Note:
    """Return the VM's note with an entry for every NIC, those that something else attached included."""
    note = note_of(session)
    for nic in session.nics.values():
        if nic.mac not in note.interfaces:
            note.interfaces[nic.mac] = NicNote(
                mac=nic.mac,
                type=nic.type,
                source=nic.source or "",
                mode=None,
                model=nic.front_end.model if nic.front_end else "",
                ifname=nic.ifname or "",
                ifindex=sysfs.ifindex(nic.ifname) if nic.ifname else None,
                queues=nic.queues,
                netdev=nic.netdev,
                phase="held" if nic.devices else "revoked",
                made=False,
                devices=nic.devices,
            )
    return note


def settle_note(session: Session, note: Note, auditor: Auditor) -> None:
    """Write the note back, or remove it when it has nothing left to tell.

    What could not be recorded or undone stays noted as under way, for the next task to go on with.
    """
    leave_unproved(note, auditor)
    if auditor.missed or any(
        nic.phase == "opening" for nic in note.interfaces.values()
    ):
        session.state.save(note)
        return
    # What something else attached is its owner's again, once nothing of ours is under way.
    for mac, nic in list(note.interfaces.items()):
        if not nic.made and not nic.pending and nic.phase == "held":
            del note.interfaces[mac]
    if note.started or note.interfaces:
        session.finish(note)
    else:
        session.state.remove()
        session.note = None


def leave_unproved(note: Note, auditor: Auditor) -> None:
    """Note what the audit daemon has not written to its log as not recorded: the next task reads the log and records it."""
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
