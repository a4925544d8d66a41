# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records the end of a VM that is gone, and removes what is left of it.

No other place does it, whether a task ended the VM, its companion unit saw it die, or a later task found it dead.
"""

from __future__ import annotations

import os
import typing as t

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._audit.messages import Vm as AuditedVm
from .._audit.origin import Origin
from .._errors import StuckError
from .._net import holdings
from .._net.holdings import Holding
from .._net.network import network_of
from .._vm.history import History, NicHistory
from .._vm.note import NicNote, Note
from .._vm.remains import remove_remains
from .._vm.statedir import VmState
from .steps import end_of

if t.TYPE_CHECKING:
    from .._audit.record import Record

_STOPPED_BY_US = ("shutdown", "destroyed")


def end_vm(
    note: Note,
    state: VmState,
    auditor: Auditor,
    origin: Origin,
    reason: str,
    history: History,
) -> None:
    """Record the end of a VM, and remove what is left of it.

    ``reason`` is VIRT_CONTROL's: ``shutdown``, ``destroyed``, ``crashed``. What ``history`` has is not
    written again. Raises :class:`AuditError`, :class:`LinkError`, :class:`StuckError`;
    the note stays then.
    """
    messages = _messages_of(note, origin)
    if (note.started or reason in _STOPPED_BY_US) and history.control() != (
        "stop",
        "success",
    ):
        auditor.write(messages.control("stop", reason, note.pid or 0, success=True))
    _record_ends(note, state, "attach", history, auditor, messages)
    _forget(note, state)


def record_nic_end(
    nic: NicNote, history: NicHistory, grant: str, auditor: Auditor, messages: Messages
) -> None:
    """Record that qemu holds nothing of an interface any more."""
    auditor.together(nic_end_records(nic, history, grant, messages))


def nic_end_records(
    nic: NicNote, history: NicHistory, grant: str, messages: Messages
) -> list[Record]:
    """Return the records of the end of an interface: of its detach, or its failed ``grant``, and of each close."""
    records = []
    if history.granted:
        records.append(messages.net_detach(nic.mac, success=True))
    elif not history.settled:
        on = network_of(nic.link, nic.type)
        records.append(messages.net_grant(grant, nic.mac, [], False, *on))
    return records + [
        messages.net_close(nic.mac, opened, opened.fd) for opened in history.outstanding
    ]


def end_vm_late(note: Note, state: VmState, auditor: Auditor, origin: Origin) -> str:
    """Do what is due for a VM whose qemu is gone and whose lock is held; return it in words.

    Raises :class:`AuditError`, :class:`LinkError`, :class:`StateError`, :class:`StuckError`; the note stays then, for
    the next run.
    """
    history = History(note)
    done = end_of(note, history).reported
    state.begin(note)
    if note.booting:
        _undo_start(note, state, auditor, origin, history)
        return done
    end_vm(note, state, auditor, origin, how_it_ended(note, state), history)
    return done


def _undo_start(
    note: Note, state: VmState, auditor: Auditor, origin: Origin, history: History
) -> None:
    messages = _messages_of(note, origin)
    _record_ends(note, state, "start", history, auditor, messages)
    operation, result = history.control()
    if (operation, result) == ("start", "success"):
        auditor.write(messages.control("stop", "failed", note.pid or 0, success=True))
    elif operation is None:
        auditor.write(messages.control("start", "booted", note.pid or 0, success=False))
    auditor.prove()
    _forget(note, state)


def how_it_ended(note: Note, state: VmState) -> str:
    """Return VIRT_CONTROL's reason for an end that no task asked for.

    Nobody learns the exit status of a qemu in a scope. A qemu that ends in good order (its guest
    powered off, or it was told to quit) removes its pid file; one that is killed does not.
    """
    orderly = note.pid_file and not os.path.exists(state.pid_file)
    return "shutdown" if orderly else "crashed"


def _record_ends(
    note: Note,
    state: VmState,
    grant: str,
    history: History,
    auditor: Auditor,
    messages: Messages,
) -> None:
    """Record the end of each NIC of a VM whose process is gone.

    Raises :class:`AuditError` where the records are not proved, and :class:`StuckError` for those that somebody else
    holds; they stay noted, and nothing of them is recorded.
    """
    stuck: dict[str, Holding] = {}
    recorded: list[NicNote] = []
    for nic in note.interfaces.values():
        if nic.phase == "revoked":
            continue
        holding = holdings.wait_free(nic.ifname, nic.ifindex)
        if holding is not None:
            stuck[nic.mac] = holding
            continue
        record_nic_end(nic, history.nic(nic), grant, auditor, messages)
        recorded.append(nic)
    auditor.prove()
    if stuck:
        for nic in recorded:
            nic.phase = "revoked"
        state.save(note)
        held = "; ".join(f"{mac}: {holding}" for mac, holding in stuck.items())
        raise StuckError(
            f"VM {note.name} (pid {note.pid}) has ended, and somebody still holds a part of what it had: {held}. No detach and no close"
            " of it is on record; end that process, and run the task again"
        )


def _messages_of(note: Note, origin: Origin) -> Messages:
    return Messages(AuditedVm(note.name, note.uuid, note.virt), origin)


def _forget(note: Note, state: VmState) -> None:
    # This comes after the last record, because importing the code that removes links takes longer than all records.
    for nic in note.interfaces.values():
        remove_remains(nic)
    state.remove()
