# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts a VM with all its interfaces, or does not start it: opens them, records that, hands them over, records that."""

from __future__ import annotations

import os
import typing as t

from .._audit.messages import Messages
from .._audit.origin import Origin
from .._device import Device, fds_of
from .._errors import ProcessError, StateError
from .._net import holdings
from .._net.interface import Interface
from .._net.network import network_of
from .._net.opened import OpenedDevices
from .._proc import Process
from .._qemu import command, launch, systemd
from .._qemu.command import Backend, QemuOptions
from .._repair.companion_unit import watch
from .._repair.nic_end import has_remains
from .._repair.vm_end import end_process
from .._vm import identity
from .._vm.note import Note
from .._vm.vm import Vm
from .handover import attached, claim, noting, record_grants, take_carriers

if t.TYPE_CHECKING:
    from .._task.result import Report


class _Program(t.NamedTuple):
    """The qemu to start: its path, its version, and the user and group that it runs as."""

    path: str
    version: tuple[int, int]
    uid: int
    gid: int


def cold_start(
    vm: Vm,
    interfaces: t.Sequence[Interface],
    qemu: QemuOptions,
    report: Report,
    origin: Origin,
) -> None:
    """Start the VM. Raises :class:`VirtauditError`. After a failure no qemu runs and nothing is open.

    The guest runs its first instruction only after the last record is written.
    """
    binary = launch.find_binary(qemu.binary)
    program = _Program(binary, launch.version_of(binary), *launch.ids_of(qemu.user))
    unit = systemd.scope_of(vm.uuid)
    note = vm.new_note(qemu.virt, started=True, unit=unit)
    note.uid = program.uid
    note.qmp_socket, note.booting = vm.state.qmp_socket, True
    if unit is not None:
        systemd.wait_unloaded(unit, vm.target.timeout)
    messages = vm.messages(origin, qemu.virt)
    vm.note = note
    started = False
    try:
        with vm.change(report.auditor):
            try:
                claim(vm, note, interfaces)
                devices = _start(vm, note, interfaces, qemu, program, report, messages)
                started = True
            except Exception:
                report.auditor.prove_anyway()
                # Work that could not be recorded or removed stays noted for the next task.
                left = any(map(has_remains, note.interfaces.values()))
                if not report.auditor.missed and not left:
                    vm.state.remove()
                    vm.note = None
                raise
    except StateError as exc:
        # Only the last note is missing. The next task finds the earlier note, and goes on from there.
        if not started:
            raise
        report.warnings.append(f"the VM runs and its start is on record, but {exc}")
    report.changed = True
    report.vm = {**vm.result(), "started": True}
    report.interfaces = [attached(each, devices[each.mac]) for each in interfaces]


def _start(
    vm: Vm,
    note: Note,
    interfaces: t.Sequence[Interface],
    qemu: QemuOptions,
    program: _Program,
    report: Report,
    messages: Messages,
) -> dict[str, list[Device]]:
    """Open, record, start, record. Return the devices that qemu holds now, by MAC. Raises :class:`VirtauditError`."""
    auditor = report.auditor
    auditor.write(messages.machine_id(program.uid, program.gid))
    with OpenedDevices(auditor, messages, noting(vm, note)) as opened:
        booted = False
        devices: dict[str, list[Device]] = {}
        try:
            devices = opened.open(interfaces)
            auditor.check()
            process = _launch(vm, note, qemu, program, interfaces, devices)
            take_carriers(vm, interfaces)
            record_grants(vm, note, auditor, messages, "start", devices)
            watch(vm, note, report)
            start = messages.control("start", "booted", process.pid, success=True)
            auditor.write(start)
            booted = True
            auditor.prove()
            # The start is now on record. If the task is cut off after this point, it leaves a VM
            # that runs.
            note.booting = False
            if not qemu.paused:
                _set_going(vm, note)
        except Exception:
            if end_process(vm, note):
                _record_failure(note, report, messages, interfaces, booted)
            else:
                # qemu still holds the devices. A record of their close would be wrong before qemu has ended.
                auditor.missed = True
                opened.handed_over(devices)
            raise
        opened.handed_over(devices)
    return devices


def _set_going(vm: Vm, note: Note) -> None:
    """Let the guest run its first instruction. If the task is cut off before that, the next task does it."""
    note.frozen = True
    vm.state.save(note)
    vm.live.monitor.execute("cont")
    note.frozen = False


def _launch(
    vm: Vm,
    note: Note,
    qemu: QemuOptions,
    program: _Program,
    interfaces: t.Sequence[Interface],
    devices: t.Mapping[str, list[Device]],
) -> Process:
    """Start qemu. Check in /proc that it holds exactly the devices, at the same numbers. Return its process."""
    backends = [_backend(each, devices[each.mac]) for each in interfaces]
    listener = launch.listen(note.qmp_socket)
    arguments = command.argv(
        program.path,
        vm.name,
        vm.uuid,
        qemu,
        program.version,
        listener.fileno(),
        backends,
    )
    if qemu.user is None:
        # Only root can enter the directory. If the file is missing later, qemu has ended in good
        # order.
        arguments += ["-pidfile", vm.state.pid_file]
    fds = [fd for backend in backends for fd in (*backend.queues, *backend.vhosts)]
    process, monitor = launch.start(
        arguments,
        listener,
        fds,
        note.qmp_socket,
        note.unit,
        qemu.user,
        vm.target.timeout,
    )
    note.bind(process)
    note.pid_file = os.path.exists(vm.state.pid_file)
    try:
        identity.require_started(monitor, process, vm.name, vm.uuid)
        vm.adopt(process, monitor)
    except Exception:
        monitor.close()
        process.end()
        raise
    vm.state.save(note)
    if not note.pid_file:
        vm.state.write_pid_file(process.pid)
    _require_exact(process, [each for held in devices.values() for each in held])
    return process


def _require_exact(process: Process, given: t.Sequence[Device]) -> None:
    """Require that a qemu that has just started holds the devices that it got, and no other network device.

    Raises :class:`ProcessError`.
    """
    for opened in given:
        if not holdings.still_at(process, opened):
            raise ProcessError(
                f"qemu started, but does not hold {opened.path} of {opened.dev} as fd {opened.fd}"
                + process.fate()
            )
    for found in holdings.beside(process, given):
        raise ProcessError(
            f"qemu opened a network device that this task did not give it: {holdings.words(found)}. The task ended the "
            "VM before its guest ran. Remove the argument that opens the device from qemu.args, and attach the device "
            "as an interface"
        )


def _backend(interface: Interface, devices: t.Sequence[Device]) -> Backend:
    queues = fds_of(opened for opened in devices if not opened.is_vhost)
    vhosts = fds_of(opened for opened in devices if opened.is_vhost)
    return Backend(interface, tuple(queues), tuple(vhosts))


def _record_failure(
    note: Note,
    report: Report,
    messages: Messages,
    interfaces: t.Sequence[Interface],
    booted: bool,
) -> None:
    if report.auditor.missed:
        # Nobody knows whether the last record was kept. The next task reads the log, and goes on
        # from there.
        return
    for interface in interfaces:
        nic = note.interfaces[interface.mac]
        if nic.phase == "held":
            # The start is already on record as a success, so the end is a detach.
            report.auditor.write_anyway(
                messages.net_detach(interface.mac, success=True)
            )
        else:
            on = network_of(nic.link, nic.type)
            report.auditor.write_anyway(
                messages.net_grant("start", interface.mac, [], False, *on)
            )
    operation, reason = ("stop", "failed") if booted else ("start", "booted")
    report.auditor.write_anyway(
        messages.control(operation, reason, note.pid or 0, success=booted)
    )
