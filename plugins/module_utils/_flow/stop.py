# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of vm_net_detach with stop_vm: it ends the VM, so that the VM gives up all its NICs, and records that."""

from __future__ import annotations

import typing as t

from .._audit.origin import Origin
from .._device import Device
from .._errors import LinkError, MonitorError, ProcessError, StopError, StuckError
from .._qemu.stop import destroy, shut_down
from .._repair.other_vms import settle_other_vms
from .._repair.repair import repair_first
from .._repair.vm_end import end_vm
from .._vm.history import History
from .._vm.note import NicNote, Note
from .._vm.vm import Silent, Vm
from .outcome import Outcome

if t.TYPE_CHECKING:
    from .._task.result import Report

# VIRT_CONTROL's words
_REASONS = {"shutdown": "shutdown", "destroy": "destroyed"}
_STOP_ADVICE = {
    "shutdown": "its guest may ignore the power button; use stop_vm: destroy",
    "destroy": "the kernel does not end the process, mostly because of a problem with its storage; look into the "
    "kernel's log",
}


def repair_anyway(vm: Vm, report: Report, origin: Origin, check_mode: bool) -> None:
    """Do what is left to do on this host before the task ends the VM, whatever qemu does.

    If qemu or a link of the VM does not let the task finish earlier work, the end of the VM finishes it. If qemu has
    answered until then and no longer does, the VM is silent. Raises what :func:`repair_first` raises for another reason,
    or if qemu has ended meanwhile.
    """
    if vm.silent is not None:
        settle_other_vms(vm.uuid, report, origin, check_mode)
        return
    try:
        repair_first(vm, report, origin, check_mode)
    except (LinkError, MonitorError, ProcessError) as exc:
        if not vm.running:
            # The task has looked at the VM again.
            vm.look_or_end()
        if not vm.running and vm.silent is None:
            raise
        vm.history = History(vm.note)
        if vm.silent is None:
            report.warnings.append(
                f"{exc}. stop_vm: destroy ends VM {vm.name} nevertheless, and records what is left to record then"
            )


def stop(vm: Vm, how: str, report: Report, origin: Origin) -> None:
    """Stop the VM, so that it gives up all its NICs. Raises :class:`StopError`, :class:`StuckError`."""
    with vm.change(report.auditor) as note:
        for nic in vm.nics.values():
            nic.noted_in(note)
        outcomes = _ended(note)
        reason = _REASONS[how]
        process = vm.live.process if vm.silent is None else vm.silent.process
        if not _end(vm, how):
            failed = vm.messages(origin).control(
                "stop", reason, process.pid, success=False
            )
            report.auditor.write(failed)
            _report_outcomes(report, outcomes, kept=set(note.interfaces), pending=True)
            raise StopError(
                f"VM {vm.name} (pid {process.pid}) did not stop within {vm.target.timeout:g} s and keeps its network;"
                f" {_STOP_ADVICE[how]}"
            )
        vm.disconnect()
        report.changed = True
        report.vm = vm.result()
        _report_outcomes(report, outcomes, kept=set())
        try:
            end_vm(note, vm.state, vm.history, report.auditor, origin, reason)
        except StuckError:
            kept = {
                mac for mac, nic in note.interfaces.items() if nic.phase != "revoked"
            }
            _report_outcomes(report, outcomes, kept)
            raise
        vm.note = None


def end_silent(
    vm: Vm,
    note: Note,
    silent: Silent,
    asked: t.Sequence[str],
    report: Report,
    origin: Origin,
    check_mode: bool,
) -> None:
    """End a VM whose monitor does not answer. Raises :class:`StopError`, :class:`StuckError`.

    Only its note tells which NICs it has.
    """
    report.vm = {**vm.result(), "pid": silent.process.pid}
    report.warnings.append(
        f"{silent.reason}. stop_vm: destroy ends the noted process of VM {vm.name} (pid {silent.process.pid}) without its "
        "monitor, so the records have only the NICs that the note has"
    )
    outcomes = _ended(note)
    macs = sorted(mac for mac, nic in note.interfaces.items() if _held(nic))
    report.diff = {
        "before": {"running": True, "interfaces": macs},
        "after": {"running": False, "interfaces": []},
    }
    absent = [Outcome(mac, "absent") for mac in asked if mac not in note.interfaces]
    report.auditor.check()
    report.interfaces = [outcome.result() for outcome in absent]
    if check_mode:
        report.changed = True
        _report_outcomes(report, outcomes, kept=set())
        return
    report.auditor.prepare()
    stop(vm, "destroy", report, origin)


def _ended(note: Note) -> list[Outcome]:
    """Return what happens to the noted NICs of a VM that a task ends."""
    return [
        Outcome(each.mac, "detached", released=_held(each))
        for each in note.interfaces.values()
    ]


def _held(nic: NicNote) -> list[Device]:
    return nic.devices if nic.phase == "held" else []


def _report_outcomes(
    report: Report,
    outcomes: t.Sequence[Outcome],
    kept: t.Collection[str],
    pending: bool = False,
) -> None:
    """Report the NICs of a VM that the task stopped or tried to stop, before the NICs that the report already has.

    ``kept`` are the MACs whose devices somebody still holds. ``pending`` tells whether the guest still has these NICs.
    """
    named = {outcome.mac for outcome in outcomes}
    rest = [item for item in report.interfaces if item["mac"] not in named]
    report.interfaces = [
        (
            Outcome(outcome.mac, "pending", pending) if outcome.mac in kept else outcome
        ).result()
        for outcome in outcomes
    ] + rest


def _end(vm: Vm, how: str) -> bool:
    """End qemu in the way that the task asks for. Tell whether its process has ended."""
    if vm.silent is not None:
        return vm.silent.process.end()
    monitor, process = vm.live.monitor, vm.live.process
    if how == "shutdown":
        return shut_down(monitor, process, vm.target.timeout)
    return destroy(monitor, process)
