# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vm_net_attach: observe, plan, open, record, hand over, record."""

from __future__ import annotations

import typing as t

from .. import _state
from .._audit.messages import Messages
from .._audit.origin import Origin
from .._errors import (
    AuditError,
    MonitorError,
    PendingError,
    ProcessError,
    VirtauditError,
)
from .._net import device, sysfs
from .._net.device import Device
from .._net.interface import Interface, parse_interfaces
from .._net.opened import OpenedDevices
from .._qemu import command, hotplug, launch
from .._qemu.command import Backend, QemuOptions
from .._state import NicNote, Note
from .plan import (
    Plan,
    Step,
    asked,
    make_diff,
    make_plan,
    planned_result,
    refuse_foreign_macs,
)
from .recover import messages_for, needs_repair, repair
from .release import release
from .report import Report
from .session import Session

_END_SECONDS = 5.0


def run(params: t.Mapping[str, t.Any], check_mode: bool, report: Report) -> None:
    """Attach interfaces to a VM, starting it where it does not run. Raises :class:`VirtauditError`."""
    interfaces = parse_interfaces(params["interfaces"])
    origin = Origin.of_this_process()
    with Session(params, check_mode) as session:
        report.warnings += session.warnings
        if needs_repair(session) and not check_mode:
            report.auditor.prepare()
            report.warnings += repair(session, report.auditor, origin)
        plan = make_plan(session, interfaces, params)
        report.diff = make_diff(session, plan)
        report.interfaces = planned_result(plan)
        report.vm = {**session.result(), "started": plan.start is not None}
        if not plan.changes:
            report.auditor.look()
            return
        report.auditor.check()
        if check_mode:
            report.changed = True
            return
        report.interfaces = []
        report.auditor.prepare()
        if plan.start is not None:
            _cold_start(session, plan, plan.start, report, origin)
        else:
            _hot_plug(session, plan, report, origin)


def _cold_start(
    session: Session, plan: Plan, qemu: QemuOptions, report: Report, origin: Origin
) -> None:
    """Start the VM with all interfaces or none."""
    messages = messages_for(session, origin, qemu.virt)
    interfaces = [step.interface for step in plan.steps]
    binary = launch.find_binary(qemu.binary)
    version = launch.version_of(binary)
    note = session.new_note(qemu.virt, started=True, unit=launch.scope_of(session.uuid))
    note.qmp_socket = session.state.qmp_socket
    _claim(session, note, interfaces)
    auditor = report.auditor
    try:
        with OpenedDevices(auditor, messages) as opened:
            auditor.write(messages.machine_id(*launch.ids_of(qemu.user)))
            try:
                for interface in interfaces:
                    _note_opened(session, note, interface, opened.open(interface))
                auditor.check()
                _launch(session, note, qemu, binary, version, interfaces)
                for interface in interfaces:
                    _record_grant(
                        session, note, messages, report, "start", interface.mac
                    )
                assert note.pid is not None and session.monitor is not None
                auditor.write(
                    messages.control("start", "booted", note.pid, success=True)
                )
                if not qemu.paused:
                    session.monitor.execute("cont")
            except VirtauditError:
                _stop_failed(session)
                _record_failed_start(note, report, messages, interfaces)
                raise
            opened.handed_over()
    except VirtauditError:
        session.state.remove()
        session.note = None
        raise
    report.changed = True
    session.note = note
    session.refresh()
    report.vm = {**session.result(), "started": True}
    report.interfaces = [
        {
            **asked(interface),
            "devices": _devices(note, interface.mac),
            "action": "attached",
        }
        for interface in interfaces
    ]


def _launch(
    session: Session,
    note: Note,
    qemu: QemuOptions,
    binary: str,
    version: tuple[int, int],
    interfaces: t.Sequence[Interface],
) -> None:
    """Start qemu, and see in /proc that it holds what it was given, at the same numbers."""
    backends = [
        _backend(interface, note.interfaces[interface.mac].devices)
        for interface in interfaces
    ]
    listener = launch.listen(note.qmp_socket)
    arguments = command.argv(
        session.name, session.uuid, qemu, version, listener.fileno(), backends
    )
    fds = [opened.fd for nic in note.interfaces.values() for opened in nic.devices]
    process, monitor = launch.start(
        [binary, *arguments[1:]],
        listener,
        fds,
        note.qmp_socket,
        note.unit,
        qemu.user,
        session.timeout,
    )
    note.pid, note.start_time = process.pid, process.start_time
    session.note = note
    session.adopt(process, monitor)
    session.state.save(note)
    for nic in note.interfaces.values():
        for opened in nic.devices:
            if not process.holds(opened):
                raise ProcessError(
                    f"qemu started and does not hold {opened.path} of {nic.mac} as fd {opened.fd}"
                )


def _backend(interface: Interface, devices: t.Sequence[Device]) -> Backend:
    vhosts = tuple(
        opened.fd for opened in devices if opened.path == device.VHOST_NET_PATH
    )
    queues = tuple(
        opened.fd for opened in devices if opened.path != device.VHOST_NET_PATH
    )
    return Backend(interface, queues, vhosts)


def _stop_failed(session: Session) -> None:
    """End a qemu that must not run: it was started and something after it failed."""
    process = session.process
    session.disconnect()
    if process is not None:
        process.kill()
        process.wait_end(_END_SECONDS)
        session.process = None


def _record_failed_start(
    note: Note, report: Report, messages: Messages, interfaces: t.Sequence[Interface]
) -> None:
    for interface in interfaces:
        if note.interfaces[interface.mac].phase == "held":
            # Its start is on record as a success already, so it ends as a detach.
            report.auditor.write_anyway(
                messages.net_detach(interface.mac, success=True)
            )
        else:
            report.auditor.write_anyway(
                messages.net_grant("start", interface.mac, [], success=False)
            )
    report.auditor.write_anyway(
        messages.control("start", "booted", note.pid or 0, success=False)
    )


def _hot_plug(session: Session, plan: Plan, report: Report, origin: Origin) -> None:
    """Attach one interface after the other; the first failure ends it and keeps what was done."""
    messages = messages_for(session, origin)
    note = session.note or session.new_note(messages.vm.virt, started=False)
    session.note = note
    _bind(session, note)
    new = [
        step.interface
        for step in plan.steps
        if step.action == "attach" and not step.replace
    ]
    _claim(session, note, new)
    free = list(plan.ports)
    try:
        for step in plan.steps:
            if step.action == "unchanged":
                assert step.nic is not None
                report.interfaces.append({**step.nic.result(), "action": "unchanged"})
                continue
            if step.replace:
                free += _take_out(session, note, step, report, messages)
            port = free.pop(0) if free and step.interface.is_pci else None
            _plug(session, note, step.interface, port, report, messages)
            report.changed = True
            devices = _devices(note, step.interface.mac)
            report.interfaces.append(
                {**asked(step.interface), "devices": devices, "action": "attached"}
            )
    finally:
        for interface in new:
            if (
                interface.mac in note.interfaces
                and note.interfaces[interface.mac].phase == "opening"
            ):
                del note.interfaces[interface.mac]
        session.state.save(note)


def _bind(session: Session, note: Note) -> None:
    assert session.process is not None
    note.pid, note.start_time = session.process.pid, session.process.start_time


def _take_out(
    session: Session, note: Note, step: Step, report: Report, messages: Messages
) -> list[str]:
    """Detach what is to be replaced; return the ports that this freed."""
    assert (
        step.nic is not None
        and session.monitor is not None
        and session.inventory is not None
    )
    before = set(session.inventory.free_ports)
    outcome = release(session, [step.nic], False, report, messages)[0]
    if outcome.pending:
        raise PendingError(
            f"{step.interface.mac} could not be replaced: the guest did not let go of it within"
            f" {session.timeout:g} s. It is attached as before, with the removal pending; run the task again when"
            " the guest is up, or revoke it with vm_net_detach and force: true"
        )
    session.refresh()
    _claim(session, note, [step.interface])
    return [port for port in session.inventory.free_ports if port not in before]


def _plug(
    session: Session,
    note: Note,
    interface: Interface,
    port: str | None,
    report: Report,
    messages: Messages,
) -> None:
    assert session.monitor is not None and session.process is not None
    auditor = report.auditor
    with OpenedDevices(auditor, messages) as opened:
        try:
            devices = opened.open(interface)
            _note_opened(session, note, interface, devices)
            auditor.check()
            held = hotplug.plug(
                session.monitor, session.process, interface, devices, port
            )
            note.interfaces[interface.mac].devices = held
            _record_grant(session, note, messages, report, "attach", interface.mac)
        except (VirtauditError, OSError) as exc:
            if isinstance(exc, AuditError) and note.interfaces[interface.mac].devices:
                _revoke(session, note.interfaces[interface.mac])
            auditor.write_anyway(
                messages.net_grant("attach", interface.mac, [], success=False)
            )
            raise
        opened.handed_over()


def _revoke(session: Session, nic: NicNote) -> None:
    """Take a NIC back whose hand-over could not be recorded."""
    assert session.monitor is not None
    try:
        hotplug.roll_back(session.monitor, nic.mac, len(nic.devices))
    except MonitorError:
        # A qemu that is gone holds nothing.
        return


def _record_grant(
    session: Session,
    note: Note,
    messages: Messages,
    report: Report,
    reason: str,
    mac: str,
) -> None:
    nic = note.interfaces[mac]
    report.auditor.write(
        messages.net_grant(
            reason, mac, [opened.fd for opened in nic.devices], success=True
        )
    )
    nic.phase = "held"
    session.state.save(note)


def _claim(session: Session, note: Note, interfaces: t.Sequence[Interface]) -> None:
    """Note what will be opened before it is, so that a crash is found and a race for a MAC has one winner."""
    with _state.host_locked(session.timeout):
        refuse_foreign_macs(session, interfaces)
        for interface in interfaces:
            note.interfaces[interface.mac] = NicNote(
                mac=interface.mac,
                type=interface.type,
                source=interface.source,
                mode=interface.mode,
                model=interface.model,
                ifname=interface.ifname,
                queues=interface.queues,
                netdev=command.netdev_id(interface.mac),
                phase="opening",
            )
        session.state.save(note)


def _note_opened(
    session: Session, note: Note, interface: Interface, devices: list[Device]
) -> None:
    nic = note.interfaces[interface.mac]
    nic.devices = devices
    nic.ifindex = sysfs.ifindex(interface.ifname)
    session.state.save(note)


def _devices(note: Note, mac: str) -> list[dict[str, t.Any]]:
    return [opened.result() for opened in note.interfaces[mac].devices]
