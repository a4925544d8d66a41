# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives interfaces to a running VM, one after the other: open, record, hand over, record."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._audit.origin import Origin
from .._device import Device
from .._errors import LinkError, MonitorError, PendingError, StuckError
from .._net.interface import Interface
from .._net.network import network_of
from .._net.opened import OpenedDevices
from .._qemu import hotplug, ids
from .._repair.nic_end import has_remains
from .._vm.nic import Nic
from .._vm.note import Note
from .._vm.vm import Live, Vm
from .handover import attached, claim, noting, record_grant, take_carriers
from .plan import Plan, Step

if t.TYPE_CHECKING:
    from .._task.result import Report


def hot_plug(vm: Vm, plan: Plan, report: Report, origin: Origin) -> None:
    """Attach what the plan says. Raises :class:`VirtauditError` at the first failure. What was done before it stays."""
    auditor, messages = report.auditor, vm.messages(origin)
    fresh = [
        step.interface
        for step in plan.steps
        if step.action == "attach" and not step.replace
    ]
    free = list(plan.ports)
    with vm.change(auditor) as note:
        note.bind(vm.live.process)
        try:
            claim(vm, note, fresh)
            for step in plan.steps:
                if step.nic is not None and step.action == "unchanged":
                    report.interfaces.append(
                        {**step.nic.result(), "action": "unchanged"}
                    )
                    continue
                if step.action == "update":
                    from .update import update

                    report.interfaces.append(update(vm, note, step, auditor, messages))
                    report.changed = True
                    continue
                if step.replace:
                    free += _take_out(vm, note, step, report, messages)
                    claim(vm, note, [step.interface])
                port = free.pop(0) if free and step.interface.is_pci else None
                try:
                    _plug(vm, note, step.interface, port, auditor, messages)
                finally:
                    nic = note.interfaces[step.interface.mac]
                    if nic.phase == "held":
                        report.changed = True
                        report.interfaces.append(attached(step.interface, nic.devices))
            if plan.unlisted:
                _detach_unlisted(vm, note, plan.unlisted, report, messages)
        finally:
            auditor.prove_anyway()
            if not auditor.missed:
                _drop_unfinished(note)


def _detach_unlisted(
    vm: Vm, note: Note, nics: t.Sequence[Nic], report: Report, messages: Messages
) -> None:
    """Detach the NICs that the task does not list. Raises :class:`PendingError` when the guest keeps one."""
    from .release import Outcome, release, require_gone

    outcomes: list[Outcome] = []
    values = {nic.mac: nic.result() for nic in nics}
    try:
        release(vm, note, nics, False, report, messages, outcomes)
    finally:
        gone = [each for each in outcomes if each.action == "detached"]
        report.changed |= bool(gone)
        report.interfaces += [
            {**values[each.mac], "action": each.action} for each in gone
        ]
    require_gone(vm.name, vm.target.timeout, False, outcomes)


def _drop_unfinished(note: Note) -> None:
    """Forget the interfaces that were claimed and not attached: what was open of them is closed, on record.

    One whose macvtap could not be removed stays.
    """
    kept = {
        mac: nic
        for mac, nic in note.interfaces.items()
        if nic.phase != "opening" or has_remains(nic)
    }
    note.interfaces = kept


def _plug(
    vm: Vm,
    note: Note,
    interface: Interface,
    port: str | None,
    auditor: Auditor,
    messages: Messages,
) -> None:
    """Open, record and hand over one interface, and record that. Raises :class:`VirtauditError`."""
    live, nic = vm.live, note.interfaces[interface.mac]
    with OpenedDevices(auditor, messages, noting(vm, note)) as opened:
        try:
            devices = opened.open(interface)
            auditor.check()
            held = hotplug.plug(live.monitor, live.process, interface, devices, port)
            try:
                take_carriers(vm, [interface])
                record_grant(vm, note, auditor, messages, "attach", interface, held)
            except Exception:
                if nic.phase == "held":
                    # The record is written and true. Only the note is missing, and the next task makes it from the log.
                    opened.handed_over()
                    raise
                # A NIC whose attach cannot be recorded is taken back.
                _take_back(live, interface, held)
                raise
        except StuckError:
            # The devices are neither closed nor handed over. Nothing true can be recorded before qemu answers.
            auditor.missed = True
            opened.handed_over()
            raise
        except Exception:
            # Nobody knows whether the missing record landed. The next task reads the log.
            if not auditor.missed and nic.phase != "held":
                on = network_of(nic.link, nic.type)
                auditor.write_anyway(
                    messages.net_grant("attach", interface.mac, [], False, *on)
                )
            raise
        opened.handed_over()


def _take_back(live: Live, interface: Interface, held: list[Device]) -> None:
    """Take a NIC out of qemu again. Raises :class:`StuckError` when qemu keeps its devices; one that is gone has none."""
    path = f"/machine/peripheral/{ids.device_id(interface.mac)}"
    netdev = ids.netdev_id(interface.mac)
    left = held
    with contextlib.suppress(MonitorError):
        left = hotplug.revoke(live.monitor, live.process, netdev, path, held)
        hotplug.unplug(live.monitor, [path], time.monotonic())
    if left and not live.process.wait_end(0):
        raise StuckError(
            f"the attach of {interface.mac} could not be recorded, and qemu (pid {live.process.pid}) does not give its"
            " devices back. Run the task again: it will be recorded or taken back"
        )


def _take_out(
    vm: Vm, note: Note, step: Step, report: Report, messages: Messages
) -> list[str]:
    """Detach what is to be replaced; return the ports that this freed."""
    from .release import Outcome, release

    before = set(vm.live.free_ports())
    nics = [] if step.nic is None else [step.nic]
    outcomes: list[Outcome] = []
    release(vm, note, nics, False, report, messages, outcomes)
    report.auditor.check()
    for outcome in outcomes:
        failed = f"{outcome.mac} could not be replaced:"
        if outcome.left is not None:
            raise LinkError(f"{failed} {outcome.left}")
        if outcome.pending:
            why = outcome.refused or (
                f"the guest did not let go of it within {vm.target.timeout:g} s"
            )
            now = "It is attached as before, with the removal pending"
            if outcome.action != "pending":
                now = "Its host side is closed, and qemu still has the NIC"
            raise PendingError(
                f"{failed} {why}. {now}; run the task again when the guest is up, or revoke it with vm_net_detach"
                " and force: true"
            )
    vm.refresh()
    return [port for port in vm.live.free_ports() if port not in before]
