# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program of the zipapp, which a VM's companion unit runs after qemu has ended. Its output goes to the journal."""

from __future__ import annotations

import sys
import time

from .._audit.auditor import Auditor
from .._audit.origin import Origin
from .._errors import BusyError, VirtauditError
from .._proc import Process
from .._vm import statedir
from .._vm.history import History
from .._vm.note import Note
from .._vm.rebuild import read_note
from .._vm.statedir import VmState
from .vm_end import end_vm

# A task that works on the VM also notices its end.
_WAIT_SECONDS = 60.0
_STEP_SECONDS = 0.05


def main() -> int:
    """Record the end of the VM with the given UUID, whose qemu had the given pid and start time."""
    uuid, pid, start_time = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    try:
        statedir.prepare_base()
        said = _see_to(VmState(uuid), Process(pid, start_time))
    except VirtauditError as exc:
        sys.stderr.write(
            f"the end of VM {uuid} (pid {pid}) could not be recorded and cleaned up: {exc}. The next task on this host "
            "tries again\n"
        )
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


def _see_to(state: VmState, process: Process) -> str:
    """Do what is left to do for a VM that has ended. Return in words what was done."""
    deadline = time.monotonic() + _WAIT_SECONDS
    # The check also runs without the lock, because the next start of the VM waits until this unit
    # ends.
    while _is_of(read_note(state, False, process), process):
        try:
            with state.locked(_STEP_SECONDS):
                return _settle(state, process)
        except BusyError:
            if time.monotonic() >= deadline:
                raise
    return f"a task has recorded the end of VM {state.uuid} (pid {process.pid})"


def _settle(state: VmState, process: Process) -> str:
    note = read_note(state, True, process)
    if note is None or not _is_of(note, process):
        return f"a task has recorded the end of VM {state.uuid} (pid {process.pid})"
    if process.is_alive():
        return (
            f"qemu (pid {process.pid}) of VM {note.name} still runs; the next task on this host after its end "
            "records the end"
        )
    with Auditor(note.audit) as auditor:
        auditor.prepare()
        end_vm(note, state, History(note), auditor, Origin.of_this_process())
        for warning in auditor.warnings:
            sys.stderr.write(f"{warning}\n")
        return f"qemu (pid {note.pid}) of VM {note.name} has ended: {len(auditor.records)} records written"


def _is_of(note: Note | None, process: Process) -> bool:
    """Tell whether a note belongs to this process, and not to the VM's next run."""
    return note is not None and note.process == process
