# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an earlier run, or the VM's end, left something over. What is done about it is recover's."""

from __future__ import annotations

from .._state import NicNote, Note
from . import identity
from .macvtap import has_link
from .session import Session


def needs_repair(session: Session) -> bool:
    """Tell whether an earlier run, or the VM's end, left something to record or remove."""
    note = session.note
    if note is None:
        return False
    return note.busy is not None or is_dead(note) or bool(lost(session, note))


def foresee_repair(session: Session) -> bool:
    """Show a session as the repair will leave it, for check mode; tell whether the repair records anything."""
    note = session.note
    if note is None:
        return False
    half = [nic.mac for nic in note.interfaces.values() if nic.phase == "opening"]
    does = note.booting or is_dead(note) or bool(half or lost(session, note))
    if note.booting:
        session.disconnect()
    for mac in half:
        found = session.nics.get(mac)
        if found is not None and not found.is_whole:
            del session.nics[mac]
    return does


def is_dead(note: Note) -> bool:
    """Tell whether the qemu that was noted has ended."""
    process = identity.noted(note)
    return process is not None and not process.is_alive()


def lost(session: Session, note: Note) -> list[NicNote]:
    """Return the noted NICs of which qemu holds nothing any more, and something is left to do."""
    nics = []
    for nic in note.interfaces.values():
        found = session.nics.get(nic.mac)
        nothing_held = found is None or not found.devices
        if (nic.phase == "held" and nothing_held) or (
            nic.phase == "revoked" and (found is None or has_link(nic))
        ):
            nics.append(nic)
    return nics
