# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records the end of a VM, which is its stop and the end of each of its interfaces, and removes what is left of it.

No other code does this, whether a task ended the VM, its companion unit saw it end, or a later task found that
it had ended.
"""

from __future__ import annotations

import os
import typing as t

from .._audit.messages import Messages
from .._audit.messages import Vm as AuditedVm
from .._errors import ProcessError, RecordError, StuckError
from .._net.holdings import Holding
from .nic_end import nic_end_records, remove_remains, wait_free

if t.TYPE_CHECKING:
    from .._audit.auditor import Auditor
    from .._audit.origin import Origin
    from .._vm.history import History
    from .._vm.note import NicNote, Note
    from .._vm.statedir import VmState
    from .._vm.vm import Vm

_STOPPED_BY_US = ("shutdown", "destroyed")


def end_own(vm: Vm, note: Note, auditor: Auditor, origin: Origin) -> None:
    """Record the end of a task's VM or, after ending its qemu, of its interrupted start.

    Raises :class:`ProcessError` if qemu cannot be ended, and what :func:`end_vm` raises.
    """
    if note.booting and not end_process(vm, note):
        raise ProcessError(
            f"the start of VM {note.name} was cut off, and its qemu (pid {note.pid}) cannot be ended, because it waits "
            "in the kernel, mostly for its storage. It holds its network devices. Run the task again when it has "
            "ended"
        )
    end_vm(note, vm.state, vm.history, auditor, origin)
    vm.forget()


def end_process(vm: Vm, note: Note) -> bool:
    """End the qemu of a start that was never finished, and no other qemu. Tell whether it has ended."""
    process = vm.disconnect()
    if note.process is not None:
        process = note.process
    elif vm.qmp_socket != note.qmp_socket:
        # The task got the monitor of a qemu that another program started.
        process = None
    return process is None or process.end()


def end_vm(
    note: Note,
    state: VmState,
    history: History,
    auditor: Auditor,
    origin: Origin,
    reason: str | None = None,
) -> None:
    """Record the end of a VM, or of an interrupted start, and remove what is left of it.

    Its qemu has ended, and the caller has its lock. If a task stopped the VM, ``reason`` is that of
    VIRT_CONTROL: ``shutdown`` or ``destroyed``. Records that ``history`` has are not written again. Raises
    :class:`AuditError`, :class:`LinkError`, :class:`StateError`, :class:`StuckError`, and then keeps the note
    for the next run.
    """
    messages = Messages(AuditedVm(note.name, note.uuid, note.virt), origin)
    state.begin(note)
    operation, result = history.control()
    if note.booting:
        _record_ends(note, state, "start", history, auditor, messages)
        if (operation, result) == ("start", "success"):
            auditor.write(messages.control("stop", "failed", note.pid or 0, True))
        elif operation is None:
            auditor.write(messages.control("start", "booted", note.pid or 0, False))
        auditor.prove()
    else:
        reason = reason or _how_it_ended(note, state)
        ours = note.started or reason in _STOPPED_BY_US
        if ours and (operation, result) != ("stop", "success"):
            auditor.write(messages.control("stop", reason, note.pid or 0, True))
        _record_ends(note, state, "attach", history, auditor, messages)
    # Remove links only after the last record, because the kernel takes longer to remove a macvtap than to take all records.
    for nic in note.interfaces.values():
        remove_remains(nic)
    state.remove()


def _how_it_ended(note: Note, state: VmState) -> str:
    """Return VIRT_CONTROL's reason for an end that no task asked for.

    Nobody learns the exit status of a qemu in a scope. A qemu that ends in good order (its guest powered off,
    or somebody told it to quit) removes its pid file. A qemu that is killed does not.
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
    """Record the end of each NIC of a VM whose process has ended.

    Raises :class:`AuditError` if the records are not proved, :class:`StuckError` for NICs that somebody else holds, and
    :class:`RecordError` for NICs whose records cannot be made. These NICs stay noted.
    """
    stuck: dict[str, Holding] = {}
    refused: list[RecordError] = []
    recorded: list[NicNote] = []
    for nic in note.interfaces.values():
        if nic.phase == "revoked":
            continue
        holding = wait_free(nic, auditor)
        if holding is not None:
            stuck[nic.mac] = holding
            continue
        try:
            auditor.together(nic_end_records(nic, history.nic(nic), grant, messages))
        except RecordError as exc:
            refused.append(exc)
            continue
        recorded.append(nic)
    auditor.prove()
    if stuck or refused:
        for nic in recorded:
            nic.phase = "revoked"
        state.save(note)
    if refused:
        raise refused[0]
    if stuck:
        held = "; ".join(f"{mac}: {holding}" for mac, holding in stuck.items())
        raise StuckError(
            f"VM {note.name} (pid {note.pid}) has ended, and somebody still holds a device that it had: {held}. So the "
            "task recorded no detach and no close of that device. End that process, and run the task again"
        )
