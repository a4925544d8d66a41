# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts a VM with all its interfaces, or none: open, record, hand over, record."""

from __future__ import annotations

import os
import typing as t

from .._audit.messages import Messages
from .._audit.origin import Origin
from .._device import Device, fds_of
from .._errors import ProcessError
from .._net import holdings
from .._net.interface import Interface
from .._net.opened import OpenedDevices
from .._proc import Process
from .._qemu import command, launch, systemd
from .._qemu.command import Backend, QemuOptions
from .._repair.companion_unit import watch
from .._repair.resume import end_process
from .._vm.change import leave_unproved
from .._vm.macvtap import has_link
from .._vm.note import Note
from .._vm.session import Session, bind
from .handover import attached, claim, noting, record_grant

if t.TYPE_CHECKING:
    from .._task.result import Report


def cold_start(
    session: Session,
    interfaces: t.Sequence[Interface],
    qemu: QemuOptions,
    report: Report,
    origin: Origin,
) -> None:
    """Start the VM. Raises :class:`VirtauditError`; no qemu and nothing open is left then.

    The guest runs its first instruction only after the last record is written.
    """
    auditor = report.auditor
    messages = session.messages(origin, qemu.virt)
    binary = launch.find_binary(qemu.binary)
    version = launch.version_of(binary)
    uid, gid = launch.ids_of(qemu.user)
    note = session.new_note(
        qemu.virt, started=True, unit=systemd.scope_of(session.uuid)
    )
    note.uid = uid
    note.qmp_socket, note.booting = session.state.qmp_socket, True
    if note.unit is not None:
        systemd.wait_unloaded(note.unit, session.timeout)
    try:
        claim(session, note, interfaces)
        auditor.write(messages.machine_id(uid, gid))
        with OpenedDevices(auditor, messages, noting(session, note)) as opened:
            booted = False
            try:
                for interface in interfaces:
                    opened.open(interface)
                auditor.check()
                pid = _launch(session, note, qemu, binary, version, interfaces)
                for interface in interfaces:
                    record_grant(session, note, auditor, messages, "start", interface)
                watch(session, note, report)
                auditor.write(messages.control("start", "booted", pid, success=True))
                booted = True
                auditor.prove()
                # On record from here on: a task that is cut off leaves a VM that runs, and no half start.
                note.booting = False
                if not qemu.paused:
                    _set_going(session, note)
                session.finish(note)
            except Exception:
                if end_process(session, note):
                    _record_failure(note, report, messages, interfaces, booted)
                else:
                    # It holds them still, and nothing true can be recorded before it has ended.
                    auditor.missed = True
                    opened.handed_over()
                raise
            opened.handed_over()
    except Exception:
        leave_unproved(note, auditor)
        if auditor.missed:
            session.state.save(note)
        # What could not be recorded or removed stays noted, for the next task.
        if not auditor.missed and not any(map(has_link, note.interfaces.values())):
            session.state.remove()
        session.note = None
        raise
    report.changed = True
    report.vm = {**session.result(), "started": True}
    report.interfaces = [attached(note, interface) for interface in interfaces]


def _set_going(session: Session, note: Note) -> None:
    """Let the guest run its first instruction; a task that is cut off in between leaves that to the next one."""
    note.frozen = True
    session.state.save(note)
    session.live.monitor.execute("cont")
    note.frozen = False


def _launch(
    session: Session,
    note: Note,
    qemu: QemuOptions,
    binary: str,
    version: tuple[int, int],
    interfaces: t.Sequence[Interface],
) -> int:
    """Start qemu, see in /proc that it holds what it was given, at the same numbers; return its pid."""
    backends = [
        _backend(interface, note.interfaces[interface.mac].devices)
        for interface in interfaces
    ]
    listener = launch.listen(note.qmp_socket)
    arguments = command.argv(
        binary, session.name, session.uuid, qemu, version, listener.fileno(), backends
    )
    if qemu.user is None:
        # Only root reaches the directory. That it is gone tells later that qemu ended in good order.
        arguments += ["-pidfile", session.state.pid_file]
    fds = [fd for backend in backends for fd in (*backend.queues, *backend.vhosts)]
    process, monitor = launch.start(
        arguments, listener, fds, note.qmp_socket, note.unit, qemu.user, session.timeout
    )
    bind(note, process)
    note.pid_file = os.path.exists(session.state.pid_file)
    session.note = note
    try:
        session.adopt(process, monitor)
    except Exception:
        monitor.close()
        process.end()
        raise
    session.state.save(note)
    if not note.pid_file:
        session.state.write_pid_file(process.pid)
    _require_exact(note, process)
    return process.pid


def _require_exact(note: Note, process: Process) -> None:
    """Require that a qemu which has just started holds what it was given, and no network device beside it.

    Raises :class:`ProcessError`.
    """
    given = [opened for nic in note.interfaces.values() for opened in nic.devices]
    for opened in given:
        if not holdings.still_at(process, opened):
            raise ProcessError(
                f"qemu started and does not hold {opened.path} of {opened.dev} as fd {opened.fd}"
                + process.fate()
            )
    for found in holdings.beside(process, given):
        raise ProcessError(
            f"qemu opened a network device that this task did not give it: {holdings.words(found)}. The VM was ended"
            " before its guest ran; take what opens the device out of qemu.args, and attach it as an interface"
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
        # Whether the last record landed is not known. The next task reads it in the log, and goes on from there.
        return
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
    operation, reason = ("stop", "failed") if booted else ("start", "booted")
    report.auditor.write_anyway(
        messages.control(operation, reason, note.pid or 0, success=booted)
    )
