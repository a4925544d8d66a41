# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records the ends of the host's other VMs that nobody saw, as on a host without systemd."""

from __future__ import annotations

import typing as t

from .._audit.auditor import Auditor
from .._audit.origin import Origin
from .._errors import BusyError, VirtauditError
from .._proc import boot_id
from .._qemu.process import find_qemu
from .._vm import identity, statedir
from .._vm.history import History
from .._vm.note import Note
from .._vm.statedir import VmState
from .steps import end_of

if t.TYPE_CHECKING:
    from .._task.result import Report


def end_other_vms(uuid: str, report: Report, origin: Origin) -> None:
    """Do what is due for every VM but one whose qemu is gone, and report it as late.

    The task that gave the VM its NICs said how its records must be proved. They have no ticket, because the ticket of a
    task is about the VM that the task names. If a task or the companion works on a VM, this leaves the VM to them. A
    failure here is only a warning.
    """
    for state in statedir.other_vms(uuid):
        note = _note_of(state)
        if note is None or not _seems_gone(note):
            continue
        with Auditor(note.audit) as auditor:
            try:
                report.warnings += _end_one(state, auditor, origin)
            except BusyError:
                pass
            except VirtauditError as exc:
                report.warnings.append(_not_settled(note, exc))
            finally:
                report.auditor.add(auditor)


def foresee_other_vms(uuid: str, report: Report) -> None:
    """Say in check mode what :func:`end_other_vms` would do. ``report`` becomes changed if it would write a record."""
    for state in statedir.other_vms(uuid):
        note = _note_of(state)
        if note is None or not _is_due(note) or state.is_locked():
            continue
        with Auditor(note.audit) as auditor:
            try:
                auditor.check()
            except VirtauditError as exc:
                report.warnings.append(_not_settled(note, exc))
                continue
        step = end_of(note, History(note))
        report.changed |= step.records
        report.warnings.append(step.foreseen)


def _not_settled(note: Note, problem: VirtauditError) -> str:
    return f"VM {note.name} (uuid {note.uuid}) has ended and its end could not be settled: {problem}"


def _is_due(note: Note) -> bool:
    """Tell whether the end of a VM, or of its start, is still to be recorded."""
    if not _seems_gone(note):
        return False
    # The VM is paused for good, and what it holds is on record. The next task for it ends it.
    return note.pid is not None or not find_qemu(note.uuid, identity.uids_of(note))


def _note_of(state: VmState, write: bool = False) -> Note | None:
    note = state.load()
    if note is None and state.has_unreadable():
        from .._vm.rebuild import read_note

        note = read_note(state, write)
    return note


def _end_one(state: VmState, auditor: Auditor, origin: Origin) -> list[str]:
    with state.locked(0):
        note = _note_of(state, write=True)
        if note is None or not _is_due(note):
            return []
        from .vm_end import end_vm_late

        auditor.prepare()
        return [end_vm_late(note, state, auditor, origin)]


def _seems_gone(note: Note) -> bool:
    if note.boot_id != boot_id():
        return False
    process = identity.noted(note)
    if process is not None:
        return not process.is_alive()
    # This start was cut off before its qemu was noted. A start that is under way holds the lock.
    return note.booting
