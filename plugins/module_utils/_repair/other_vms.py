# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records the end of each other VM of the host that nobody has recorded, such as the end of a VM that crashed or
powered itself off.
"""

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


def settle_other_vms(
    uuid: str, report: Report, origin: Origin, check_mode: bool
) -> None:
    """Record the end of each VM whose qemu has ended, except the task's own VM, and report it as late.

    Check mode only says it. The task that gave the VM its NICs has decided how much proof its records need. The
    records have no ticket, because the ticket of a task is about the VM that the task names. If a task or the
    companion works on a VM, leave the VM alone. A failure here is only a warning.
    """
    for state in statedir.other_vms(uuid):
        note = _note_of(state)
        if note is None or not _is_due(note):
            continue
        with Auditor(note.audit) as auditor:
            try:
                if check_mode:
                    _foresee(note, state, auditor, report)
                else:
                    _settle(state, auditor, report, origin)
            except BusyError:
                pass
            except VirtauditError as exc:
                report.warnings.append(
                    f"VM {note.name} (uuid {note.uuid}) has ended, and its end could not be recorded and cleaned up: "
                    f"{exc}"
                )
            finally:
                report.auditor.add(auditor)


def _foresee(note: Note, state: VmState, auditor: Auditor, report: Report) -> None:
    if state.is_locked():
        return
    auditor.check()
    step = end_of(note, History(note))
    report.changed |= step.records
    report.warnings.append(step.foreseen)


def _settle(state: VmState, auditor: Auditor, report: Report, origin: Origin) -> None:
    with state.locked(0):
        note = _note_of(state, write=True)
        if note is None or not _is_due(note):
            return
        from .vm_end import end_vm

        history = History(note)
        step = end_of(note, history)
        auditor.prepare()
        end_vm(note, state, history, auditor, origin)
        report.warnings.append(step.reported)


def _note_of(state: VmState, write: bool = False) -> Note | None:
    note = state.load()
    if note is None and state.has_unreadable():
        from .._vm.rebuild import read_note

        note = read_note(state, write)
    return note


def _is_due(note: Note) -> bool:
    """Tell whether the end of a VM, or the end of its start, still has to be recorded."""
    if note.boot_id != boot_id():
        return False
    process = note.process
    if process is not None:
        return not process.is_alive()
    # This start was cut off before its qemu was noted. A start that is under way would hold the lock. If its qemu was
    # started nevertheless, it stays paused, and the devices that it holds are on record. The next task
    # for this VM ends it.
    return note.booting and not find_qemu(note.uuid, identity.uids_of(note))
