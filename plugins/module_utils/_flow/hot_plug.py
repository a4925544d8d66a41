# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives interfaces to a running VM in one pass: opens all of them, records that, hands them over, and records that."""

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
from .._qemu.plug import Offer, plug
from .._repair.nic_end import has_remains
from .._vm.nic import Nic
from .._vm.note import Note
from .._vm.vm import Live, Vm
from .handover import attached, claim, noting, record_grants, take_carriers
from .plan import Plan, Step

if t.TYPE_CHECKING:
    from .._task.result import Report


def hot_plug(vm: Vm, plan: Plan, report: Report, origin: Origin) -> None:
    """Attach the interfaces of the plan: one by one those that replace another NIC, and all others in one pass.

    Raises :class:`VirtauditError` at the first failure. The interfaces that were done before it stay.
    """
    auditor, messages = report.auditor, vm.messages(origin)
    fresh = [
        step.interface
        for step in plan.steps
        if step.action == "attach" and not step.replace
    ]
    free = list(plan.ports)
    done: dict[str, dict[str, t.Any]] = {}
    with vm.change(auditor) as note:
        note.bind(vm.live.process)
        try:
            claim(vm, note, fresh)
            for step in plan.steps:
                mac = step.interface.mac
                if step.nic is not None and step.action == "unchanged":
                    done[mac] = {**step.nic.result(), "action": "unchanged"}
                elif step.action == "update":
                    from .update import update

                    done[mac] = update(vm, note, step, auditor, messages)
                    report.changed = True
                elif step.replace:
                    free += _take_out(vm, note, step, report, messages)
                    claim(vm, note, [step.interface])
                    _attach(vm, note, [step.interface], free, report, messages, done)
            _attach(vm, note, fresh, free, report, messages, done)
            if plan.unlisted:
                _detach_unlisted(vm, note, plan.unlisted, report, messages)
        finally:
            macs = [step.interface.mac for step in plan.steps]
            report.interfaces[:0] = [done[mac] for mac in macs if mac in done]
            auditor.prove_anyway()
            if not auditor.missed:
                _drop_unfinished(note)


def _detach_unlisted(
    vm: Vm, note: Note, nics: t.Sequence[Nic], report: Report, messages: Messages
) -> None:
    """Detach the NICs that the task does not list. Raises :class:`PendingError` if the guest keeps one."""
    from .outcome import Outcome, require_gone, still_shown
    from .release import release

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
    report.warnings += still_shown(vm.name, outcomes)
    require_gone(vm.name, vm.target.timeout, False, outcomes)


def _drop_unfinished(note: Note) -> None:
    """Forget the interfaces that were claimed and not attached. Their devices are closed and on record.

    An interface whose macvtap could not be removed stays.
    """
    kept = {
        mac: nic
        for mac, nic in note.interfaces.items()
        if nic.phase != "opening" or has_remains(nic)
    }
    note.interfaces = kept


def _attach(
    vm: Vm,
    note: Note,
    interfaces: t.Sequence[Interface],
    free: list[str],
    report: Report,
    messages: Messages,
    done: dict[str, dict[str, t.Any]],
) -> None:
    """Open, record and hand over interfaces in one pass, and record that.

    Add the module's value of each to ``done``. If one cannot be opened or prepared, none is handed over. Raises
    :class:`VirtauditError`.
    """
    auditor = report.auditor
    if not interfaces:
        return
    with OpenedDevices(auditor, messages, noting(vm, note)) as opened:
        try:
            devices = opened.open(interfaces)
            auditor.check()
            offers = [
                Offer(
                    each,
                    devices[each.mac],
                    free.pop(0) if free and each.is_pci else None,
                )
                for each in interfaces
            ]
            _hand_over(vm, note, offers, auditor, messages)
        except StuckError:
            # The devices are neither closed nor handed over. Before qemu answers, every record
            # about them could be wrong.
            auditor.missed = True
            opened.handed_over([each.mac for each in interfaces])
            raise
        except Exception:
            # Nobody knows whether the missing record was kept. The next task reads the log.
            if not auditor.missed:
                _record_failures(note, opened.tried, auditor, messages)
            raise
        finally:
            held = [each for each in interfaces if _is_held(note, each)]
            opened.handed_over([each.mac for each in held])
            report.changed |= bool(held)
            for each in held:
                done[each.mac] = attached(each, note.interfaces[each.mac].devices)


def _is_held(note: Note, interface: Interface) -> bool:
    """Tell whether the attach of an interface is on record. If the note does not say so, the log does."""
    return note.interfaces[interface.mac].phase == "held"


def _hand_over(
    vm: Vm,
    note: Note,
    offers: t.Sequence[Offer],
    auditor: Auditor,
    messages: Messages,
) -> None:
    """Give NICs to qemu, and record which of them it has. Raises the error that ended the pass early."""
    live = vm.live
    plugged = plug(live.monitor, live.process, offers, noting(vm, note))
    given = [offer.interface for offer in offers if offer.mac in plugged.held]
    try:
        take_carriers(vm, given)
        record_grants(vm, note, auditor, messages, "attach", plugged.held)
    except Exception:
        # NICs whose attach cannot be recorded are taken back.
        lost = [each for each in given if not _is_held(note, each)]
        _take_back(live, lost, plugged.held)
        raise
    if plugged.failure is not None:
        raise plugged.failure


def _record_failures(
    note: Note,
    interfaces: t.Sequence[Interface],
    auditor: Auditor,
    messages: Messages,
) -> None:
    for each in interfaces:
        if not _is_held(note, each):
            nic = note.interfaces[each.mac]
            on = network_of(nic.link, nic.type)
            auditor.write_anyway(messages.net_grant("attach", each.mac, [], False, *on))


def _take_back(
    live: Live, interfaces: t.Sequence[Interface], held: t.Mapping[str, list[Device]]
) -> None:
    """Take NICs out of qemu again. Raises :class:`StuckError` if qemu keeps devices.

    A qemu that has ended keeps none.
    """
    kept = []
    for mac in (interface.mac for interface in interfaces):
        path = f"/machine/peripheral/{ids.device_id(mac)}"
        left = held[mac]
        with contextlib.suppress(MonitorError):
            netdev = ids.netdev_id(mac)
            left = hotplug.close_backends(
                live.monitor, live.process, {netdev: held[mac]}, {netdev: path}
            )[netdev]
            hotplug.unplug(live.monitor, [path], time.monotonic())
        kept += [mac] if left else []
    if kept and not live.process.wait_end(0):
        raise StuckError(
            f"the attach of {', '.join(kept)} could not be recorded, and qemu (pid {live.process.pid}) does not "
            "release its devices. Run the task again. It will record the attach or take it back"
        )


def _take_out(
    vm: Vm, note: Note, step: Step, report: Report, messages: Messages
) -> list[str]:
    """Detach the NICs that the task replaces. Return the ports that this freed."""
    from .outcome import Outcome, held_elsewhere
    from .release import release

    before = set(vm.live.free_ports())
    nics = [] if step.nic is None else [step.nic]
    outcomes: list[Outcome] = []
    try:
        release(vm, note, nics, False, report, messages, outcomes)
    finally:
        # This holds also if the new NIC cannot be attached, and also if no record says it.
        report.changed |= any(outcome.action == "detached" for outcome in outcomes)
    report.auditor.check()
    for outcome in outcomes:
        failed = f"the task could not replace {outcome.mac}:"
        if outcome.left is not None:
            raise LinkError(f"{failed} {outcome.left}")
        if outcome.holding is not None:
            raise PendingError(f"{failed} {held_elsewhere(vm.name, outcome)}")
        if outcome.pending:
            why = outcome.refused or (
                f"the guest did not release it within {vm.target.timeout:g} s"
            )
            now = "It is attached as before, and the removal is pending"
            if outcome.action != "pending":
                now = "Its host side is closed, and qemu still has the NIC"
            raise PendingError(
                f"{failed} {why}. {now}; run the task again when the guest is up, or revoke it with vm_net_detach"
                " and force: true"
            )
    vm.refresh()
    return [port for port in vm.live.free_ports() if port not in before]
