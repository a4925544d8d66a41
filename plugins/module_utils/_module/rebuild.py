# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A note that cannot be read, made anew from the audit log, ``/proc`` and the links."""

from __future__ import annotations

import os
import time
import typing as t

from .._net import device, sysfs
from .._net.device import Device
from .._qemu import command, systemd
from .._qemu.process import Process, boot_id, find_qemu, named
from .._state import NicNote, Note, VmState
from .past import Past

if t.TYPE_CHECKING:
    from .._log.parse import Logged


def read_note(state: VmState, write: bool, ended: Process | None = None) -> Note | None:
    """Return a VM's note; one that cannot be read is made anew, and with ``write`` set aside and replaced.

    ``ended`` is the qemu whose end is known already. ``None`` when nothing is known of the VM.
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
        # What was under way is not known: the repair that this calls for finds out.
        busy=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME),
    )
    past = Past(note)
    if process is not None:
        note.name = named(process.command_line())[0] or ""
        note.pid, note.start_time = process.pid, process.start_time
    for logged in past.records:
        _learn(note, logged)
    if not note.name:
        return None
    # The socket is made for what this collection starts, and for nothing else.
    note.started = os.path.exists(state.qmp_socket)
    if note.started:
        note.pid_file = os.path.exists(state.pid_file)
        scope = systemd.scope_of(state.uuid)
        note.unit = scope if scope and systemd.is_loaded(scope) else None
    for mac in dict.fromkeys(filter(None, map(_mac_of, past.records))):
        nic = _rebuild_nic(mac, past)
        if nic is not None:
            note.interfaces[mac] = nic
    return note


def _learn(note: Note, logged: Logged) -> None:
    """Take from one record what it tells of the VM; the last one that tells it counts."""
    fields = logged.record.fields
    note.name, note.virt = str(fields.get("vm")), str(fields.get("virt"))
    if logged.record.type == "VIRT_MACHINE_ID":
        # The first record of a start.
        note.booting = True
    elif fields.get("op") == "start" and fields.get("res") == "success":
        note.booting = False
        pid = str(fields.get("vm-pid"))
        if not note.start_time and pid.isdecimal():
            # Nobody has this start time: the process has ended, or it would have been found.
            note.pid, note.start_time = int(pid), 0


def _mac_of(logged: Logged) -> str | None:
    fields = logged.record.fields
    return fields.get("net") or fields.get("new-net") or fields.get("old-net")


def _rebuild_nic(mac: str, past: Past) -> NicNote | None:
    """Return the note of an interface of which something is open by the log, ``None`` when nothing is."""
    nic = NicNote(mac, "bridge", "", None, "", "", 0, command.netdev_id(mac), "opening")
    known = past.nic(nic)
    if not known.outstanding:
        return None
    first = known.outstanding[0]
    nic.ifname = first.dev or ""
    nic.queues = sum(
        opened.path != device.VHOST_NET_PATH for opened in known.outstanding
    )
    nic.ifindex = sysfs.ifindex(nic.ifname)
    if first.path == device.TUN_PATH:
        nic.source = sysfs.master(nic.ifname) or ""
    else:
        nic.type, nic.source = "direct", sysfs.lower(nic.ifname) or ""
    if known.granted:
        nic.phase = "held"
        nic.devices = [
            Device(opened.path, opened.rdev, opened.dev, fd, opened.event)
            for opened, fd in zip(known.outstanding, past.granted_fds(mac))
        ]
    return nic
