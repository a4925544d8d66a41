# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rebuilds a note that cannot be read, from the audit log, ``/proc`` and the links."""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t

from .._audit.network import Network, value_of
from .._net import sysfs
from .._net.backends import backend_of, kind_of
from .._net.mac import is_mac
from .._proc import Process, boot_id
from .._qemu import ids, systemd
from .._qemu.process import find_qemu, told
from .history import History
from .note import NicNote, Note
from .statedir import VmState

if t.TYPE_CHECKING:
    from .._log.parse import Logged

# The ticks of the kernel's records and the ticks of its clock for processes have different lengths.
_SLACK_SECONDS = 0.1


def read_note(state: VmState, write: bool, ended: Process | None = None) -> Note | None:
    """Return a VM's note, or ``None`` if nothing is known about the VM.

    If the note cannot be read, make a new one. With ``write``, also set the old note aside and replace it.
    ``ended`` is the qemu whose end is known already.
    """
    note = state.load()
    if note is None and state.has_unreadable():
        note = _rebuild(state, ended or find_qemu(state.uuid))
        if write:
            state.set_aside(note)
    return note


def _rebuild(state: VmState, process: Process | None) -> Note | None:
    note = Note(
        name="",
        uuid=state.uuid,
        virt="qemu",
        boot_id=boot_id(),
        qmp_socket=state.qmp_socket,
        started=False,
        # Nobody knows what was under way. The repair finds it out.
        busy=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME),
    )
    history = History(note)
    if process is not None:
        note.name = told(process.command_line()).name or ""
        note.bind(process)
    for logged in history.records:
        _learn(note, logged)
    if not note.name:
        return None
    # This collection makes the socket only for VMs that it starts.
    note.started = os.path.exists(state.qmp_socket)
    if note.started:
        note.pid_file = os.path.exists(state.pid_file)
        scope = systemd.scope_of(state.uuid)
        note.unit = scope if scope and systemd.is_loaded(scope) else None
    for mac in dict.fromkeys(filter(None, map(_mac_of, history.records))):
        nic = _rebuild_nic(mac, history)
        if nic is not None:
            note.interfaces[mac] = nic
    return note


def _learn(note: Note, logged: Logged) -> None:
    """Note what a record tells about the VM. A later record overwrites what an earlier record has told."""
    fields = logged.record.fields
    note.name, note.virt = str(fields.get("vm")), str(fields.get("virt"))
    if logged.record.type == "VIRT_MACHINE_ID":
        # The first record of a start.
        note.booting = True
    elif fields.get("op") == "start" and fields.get("res") == "success":
        note.booting = False
        pid = str(fields.get("vm-pid"))
        if not note.start_time and pid.isdecimal():
            note.pid, note.start_time = int(pid), _start_time(int(pid), logged.time)


def _start_time(pid: int, when: float) -> int:
    """Return the start time of the process that had a pid at a given time, or 0, which no process has, if that
    process has ended.

    A living process that was started before that time has had the pid ever since.
    """
    process = Process.of(pid)
    if process is None or process.started() > when + _SLACK_SECONDS:
        return 0
    return process.start_time


def _mac_of(logged: Logged) -> str | None:
    fields = logged.record.fields
    mac = fields.get("net") or fields.get("new-net") or fields.get("old-net")
    return mac if mac is not None and is_mac(mac) else None


def _network_of(mac: str, history: History) -> Network:
    """Return the network that an interface was put on, by its records since it was opened.

    For each value, its last record counts.
    """
    known: dict[str, str | None] = {}
    prepared: dict[str, str | None] = {}
    for logged in history.records:
        fields = logged.record.fields
        if _mac_of(logged) != mac or fields.get("res") != "success":
            continue
        reason, values = fields.get("reason"), _values_of(fields)
        if reason == "prepare":
            prepared = values
        elif reason == "update":
            known.update(values)
        elif reason in ("start", "attach"):
            # The record leaves out what does not apply, so nothing of an earlier hand-over counts.
            known, prepared = {**prepared, **values}, {}
        elif reason in ("detach", "close"):
            prepared = {}
            if reason == "detach":
                known = {}
    return Network(**(known or prepared))


def _values_of(fields: t.Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the values of a network that a record has, those after the change for an update."""
    return {
        field.name: value_of(field.name, fields[name])
        for field in dataclasses.fields(Network)
        for name in (field.name, f"new-{field.name}")
        if name in fields
    }


def _rebuild_nic(mac: str, history: History) -> NicNote | None:
    """Return the note of an interface, or ``None`` if the log says that none of its devices is open."""
    nic = NicNote(mac, "bridge", "", None, "", "", 0, ids.netdev_id(mac), "opening")
    known = history.nic(nic)
    if not known.outstanding:
        return None
    first = known.outstanding[0]
    nic.ifname = first.dev or ""
    nic.queues = sum(not opened.is_vhost for opened in known.outstanding)
    nic.ifindex = sysfs.ifindex(nic.ifname)
    nic.network = _network_of(mac, history)
    nic.type = kind_of(first, None)
    nic.source = backend_of(nic.type).source_of(nic.ifname) or ""
    if known.granted:
        nic.phase = "held"
        nic.devices = [opened for opened in known.outstanding if opened.fd is not None]
    return nic
