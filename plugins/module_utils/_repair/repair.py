# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the work that interrupted tasks and ended VMs have left, before a task begins.

Check mode names the same steps and does none.
"""

from __future__ import annotations

import typing as t

from .._audit.auditor import Auditor
from .._audit.origin import Origin
from .._device import Device, fds_of
from .._errors import ProcessError, QmpError, RecordError, StuckError
from .._net import holdings
from .._net.backends import backend_of
from .._vm.note import NicNote, Note
from .._vm.vm import Vm
from .nic_end import (
    follow_rename,
    has_remains,
    is_updated,
    link_of,
    nic_end_records,
    try_remove_remains,
    wait_free,
)
from .other_vms import settle_other_vms
from .steps import Host, Step, steps_of

if t.TYPE_CHECKING:
    from .._audit.messages import Messages
    from .._task.result import Report
    from .._vm.history import NicHistory

# Most tasks find nothing to do, and each import takes time. So code that only some steps need is
# imported there.


def repair_first(vm: Vm, report: Report, origin: Origin, check_mode: bool) -> None:
    """Do what is left to do on this host before a task begins, or say it in check mode.

    Raises :class:`VirtauditError` if that fails for the task's own VM.
    """
    settle_other_vms(vm.uuid, report, origin, check_mode)
    _repair_own(vm, report, origin, check_mode)


def _repair_own(vm: Vm, report: Report, origin: Origin, check_mode: bool) -> None:
    note = vm.note
    if note is None:
        return
    host = Host(has_remains, is_updated, link_of)
    steps = steps_of(note, vm.history, not note.has_ended, vm.nics, host)
    report.changed |= any(step.changes for step in steps)
    if not steps and note.busy is None:
        return
    if check_mode:
        _foresee(vm, note, steps, report)
    else:
        _repair(vm, note, steps, report, origin)
        if vm.note is not None and vm.note.has_ended:
            # qemu has ended meanwhile.
            _repair_own(vm, report, origin, check_mode)


def _foresee(vm: Vm, note: Note, steps: t.Sequence[Step], report: Report) -> None:
    """Say what the run would do, and show the VM in the state that it would have then.

    Raises :class:`AuditError` if the run could not prove its records.
    """
    with Auditor(note.audit) as auditor:
        try:
            auditor.check()
        finally:
            report.auditor.add(auditor)
    for step in steps:
        report.warnings.append(step.foreseen)
        if step.action == "end":
            vm.disconnect()
        elif step.action == "confirm" and step.nic is not None:
            # The monitor does not tell which vhost-net devices the NIC has.
            found = vm.nics[step.nic.mac]
            found.devices = _handed_over(vm, note, step.nic) or found.devices
        elif step.action == "take_back" and step.nic is not None:
            vm.nics.pop(step.nic.mac, None)
        elif step.action in ("finish_update", "undo_update") and step.nic is not None:
            nic, found = step.nic, vm.nics[step.nic.mac]
            if nic.updating is not None and step.action == "finish_update":
                nic.put_on(nic.updating)
            found.source, found.network = nic.source, nic.link.network


def _repair(
    vm: Vm, note: Note, steps: t.Sequence[Step], report: Report, origin: Origin
) -> None:
    """Do all steps, and look at the VM again.

    The strictest of the repaired tasks, and not this one, decides how much proof the records need. They are
    still records of this task, and have its ticket.
    """
    with Auditor(note.audit, report.auditor.ticket) as auditor:
        try:
            auditor.prepare()
            if any(step.action == "end" for step in steps):
                from .vm_end import end_own

                end_own(vm, note, auditor, origin)
                report.warnings += [step.reported for step in steps]
            else:
                with vm.change(auditor):
                    messages = vm.messages(origin)
                    for step in steps:
                        try:
                            said = _do(vm, note, step, auditor, messages)
                        except RecordError as exc:
                            # No task can write this record, so the other steps must not wait for it.
                            said = f"{step.what}; {exc}. The next task tries again"
                        report.warnings.append(said or step.reported)
        finally:
            report.auditor.add(auditor)
    vm.look()


def _do(
    vm: Vm, note: Note, step: Step, auditor: Auditor, messages: Messages
) -> str | None:
    """Do one step for a VM that runs.

    If a part of the step failed and the task can still go on, return that part in words.
    """
    problem = None
    nic, on_record = step.nic, step.on_record
    if nic is None or on_record is None:
        try:
            vm.live.monitor.execute("cont")
        except QmpError as exc:
            # A guest that has powered itself off, or has crashed, needs a reset before. No other work must wait for that.
            return f"{step.what}; {exc}. The next task tries again"
        note.frozen = False
    elif step.action in ("finish_update", "undo_update"):
        from .update_end import settle_update

        done = step.action == "finish_update"
        failures = settle_update(vm, nic, done, auditor, messages)
        if failures:
            said = "put on record" if done else "recorded as failed"
            problem = f"{step.what}; it was {said}, and {' and '.join(failures)}. The next task tries again"
    elif step.action == "confirm":
        follow_rename(nic)
        nic.devices = _require_held(vm, note, nic)
        if not on_record.granted:
            fds, on = fds_of(nic.devices), backend_of(nic.type).observe(nic.link)
            auditor.write(
                messages.net_grant("attach", nic.mac, fds, True, nic.ifname, on)
            )
            auditor.prove()
        nic.phase = "held"
    else:
        problem = _finish(vm, note, step, nic, on_record, auditor, messages)
    vm.state.save(note)
    return problem


def _finish(
    vm: Vm,
    note: Note,
    step: Step,
    nic: NicNote,
    on_record: NicHistory,
    auditor: Auditor,
    messages: Messages,
) -> str | None:
    """Finish an interface that qemu no longer has or must not keep. Return in words what could not be removed."""
    if step.action == "take_back":
        _take_back(vm, nic, auditor)
    elif step.action == "record_end":
        _require_free(vm, nic, auditor)
    if step.action != "forget":
        auditor.together(nic_end_records(nic, on_record, "attach", messages))
        auditor.prove()
        # The records are not written a second time, even if the link cannot be removed.
        nic.phase = "revoked"
    left = try_remove_remains(nic, free=step.action == "take_back")
    if left is not None:
        # Its end is on record, so the task need not wait for it.
        return f"{step.what}; {left}"
    if step.action == "take_back" or nic.mac not in vm.nics:
        del note.interfaces[nic.mac]
    return None


def _require_free(vm: Vm, nic: NicNote, auditor: Auditor) -> None:
    """Require that nobody holds the devices of an interface that qemu has given up. Raises :class:`StuckError`."""
    process = vm.live.process
    holding = wait_free(nic, auditor, process)
    if holding is not None:
        # A part of the end may be on record, so the next task has to read the log again.
        auditor.missed = True
        raise StuckError(
            f"qemu (pid {process.pid}) has given up {nic.mac} of VM {vm.name}, and its device is not free: {holding}. "
            "So the task recorded no detach and no close for it. Run the task again when the device is free"
        )


def _take_back(vm: Vm, nic: NicNote, auditor: Auditor) -> None:
    """Take back an interrupted hot-plug. Raises :class:`StuckError` if somebody keeps its device."""
    from .._qemu import hotplug

    hotplug.roll_back(vm.live.monitor, nic.mac, nic.queues)
    process = vm.live.process
    holding = wait_free(nic, auditor, process)
    if holding is not None:
        raise StuckError(
            f"the attach of {nic.mac} to VM {vm.name} (qemu, pid {process.pid}) was cut off and cannot be taken back: "
            f"{holding}. Run the task again. If it says the same, end that process, or stop the VM (vm_net_detach with "
            "stop_vm: destroy)"
        )


def _require_held(vm: Vm, note: Note, nic: NicNote) -> list[Device]:
    """Return the devices of an interface that qemu holds. Raises :class:`ProcessError` if it holds none any more."""
    held = _handed_over(vm, note, nic)
    if not held:
        process = vm.live.process
        raise ProcessError(
            f"qemu (pid {process.pid}) no longer holds the devices of {nic.mac}{process.fate()}"
        )
    return held


def _handed_over(vm: Vm, note: Note, nic: NicNote) -> list[Device]:
    """Return the devices of an interface that qemu holds, with the events of their opens if they are known."""
    process = vm.live.process
    noted = [opened for opened in nic.devices if holdings.still_at(process, opened)]
    if any(not opened.is_vhost for opened in noted):
        return noted
    # A note that was rebuilt from the log does not have the numbers.
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
