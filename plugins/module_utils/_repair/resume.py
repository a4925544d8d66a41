# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finishes or takes back what a task that was cut off, or the end of a VM, has left, and records it."""

from __future__ import annotations

import typing as t

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._audit.origin import Origin
from .._device import Device, fds_of
from .._errors import ProcessError, StuckError
from .._net import holdings
from .._net.backends import backend_of
from .._qemu import hotplug
from .._vm import identity
from .._vm.history import NicHistory
from .._vm.note import NicNote, Note
from .._vm.remains import remove_remains
from .._vm.vm import Vm
from .check import steps_due
from .steps import Step
from .vm_end import end_vm_late, record_nic_end

if t.TYPE_CHECKING:
    from .._task.result import Report


def end_process(vm: Vm, note: Note) -> bool:
    """End the qemu of a start that was never finished, and no other one. Tell whether it has ended."""
    process = vm.disconnect()
    known = identity.noted(note)
    if known is not None:
        process = known
    elif vm.qmp_socket != note.qmp_socket:
        # The task was given the monitor of one that something else started.
        process = None
    return process is None or process.end()


def repair_as_noted(vm: Vm, report: Report, origin: Origin) -> None:
    """Repair, and prove the records as the strictest task asked whose work is repaired, not as this one does.

    They are records of this task all the same, and have its ticket.
    """
    note = vm.note
    if note is None:
        return
    with Auditor(note.audit, report.auditor.ticket) as auditor:
        try:
            auditor.prepare()
            report.warnings += repair(vm, auditor, origin)
        finally:
            report.auditor.add(auditor)


def repair(vm: Vm, auditor: Auditor, origin: Origin) -> list[str]:
    """Do all steps that are due for a VM. Return what was done, in words. Raises :class:`VirtauditError`."""
    note, steps = vm.note, steps_due(vm)
    if note is not None and any(step.action == "end" for step in steps):
        done = [_end(vm, note, auditor, origin)]
    else:
        with vm.change(auditor) as note:
            for step in steps:
                _do(vm, note, step, auditor, vm.messages(origin))
        done = [step.reported for step in steps]
    vm.look()
    return done


def _end(vm: Vm, note: Note, auditor: Auditor, origin: Origin) -> str:
    """Record the end of a VM, or of its start. Raises :class:`ProcessError` when its qemu cannot be ended."""
    if note.booting and not end_process(vm, note):
        raise ProcessError(
            f"the start of VM {note.name} had been cut off, and its qemu (pid {note.pid}) cannot be ended: it waits"
            " in the kernel, mostly for its storage, and holds its network devices. Run the task again when it has ended"
        )
    done = end_vm_late(note, vm.state, auditor, origin)
    vm.note = None
    return done


def _do(vm: Vm, note: Note, step: Step, auditor: Auditor, messages: Messages) -> None:
    """Do one step for a VM that lives."""
    nic = step.nic
    if nic is None:
        vm.live.monitor.execute("cont")
        note.frozen = False
        return
    history = vm.history.nic(nic)
    if step.action == "confirm":
        _confirm(vm, note, nic, history, auditor, messages)
    else:
        if step.action == "take_back":
            _take_back(vm, note, nic)
        if step.action != "forget":
            record_nic_end(nic, history, "attach", auditor, messages)
            auditor.prove()
            # What is on record is not recorded again, even if its link cannot be removed.
            nic.phase = "revoked"
        remove_remains(nic)
        if step.action == "take_back" or nic.mac not in vm.nics:
            del note.interfaces[nic.mac]
    vm.state.save(note)


def _confirm(
    vm: Vm,
    note: Note,
    nic: NicNote,
    history: NicHistory,
    auditor: Auditor,
    messages: Messages,
) -> None:
    """Finish a hot-plug that was cut off after qemu had the NIC."""
    nic.devices = _handed_over(vm, note, nic)
    if not history.granted:
        fds = fds_of(nic.devices)
        on = backend_of(nic.type).observe(nic.link)
        auditor.write(messages.net_grant("attach", nic.mac, fds, True, nic.ifname, on))
        auditor.prove()
    nic.phase = "held"


def _take_back(vm: Vm, note: Note, nic: NicNote) -> None:
    """Take back a hot-plug that was cut off. Raises :class:`StuckError` when somebody keeps its device."""
    hotplug.roll_back(vm.live.monitor, nic.mac, nic.queues)
    process = vm.live.process
    holding = holdings.wait_free(nic.ifname, nic.ifindex, process)
    if holding is not None:
        raise StuckError(
            f"the attach of {nic.mac} to VM {note.name} (qemu, pid {process.pid}) had been cut off and cannot be taken"
            f" back: {holding}. Run the task again; if it says the same, end that process, or stop the VM (vm_net_detach"
            " with stop_vm: destroy)"
        )


def _handed_over(vm: Vm, note: Note, nic: NicNote) -> list[Device]:
    """Return the devices of an interface that qemu holds, with the events of their opens if they are known."""
    process = vm.live.process
    noted = [opened for opened in nic.devices if holdings.still_at(process, opened)]
    if any(not opened.is_vhost for opened in noted):
        return noted
    # A note that was made anew from the log does not have the numbers.
    others = [
        other
        for other in note.interfaces.values()
        if other is not nic and other.phase == "held"
    ]
    claimed = {opened.fd for other in others for opened in other.devices}
    held = []
    for found in holdings.of(process):
        ours = found.dev == nic.ifname or found.is_vhost
        if ours and found.fd not in claimed:
            found.dev = nic.ifname
            held.append(found)
    held.sort(key=lambda opened: opened.is_vhost)
    for mine, opened in zip(nic.devices, held):
        if mine.rdev == opened.rdev:
            opened.event = mine.event
    return held
