# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds network devices on this host now: every process, whoever started it, and every tap and macvtap.

Sources: ``proc(5)``; ``/sys/class/net``, of this network namespace only.
"""

from __future__ import annotations

import dataclasses
import os
import time

from .. import _state
from .._net import sysfs
from .._net.device import Device
from .._qemu.process import Process, all_processes, named, names_qemu


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process with network devices open. ``name`` and ``uuid`` are those that a qemu was started with.

    ``started`` is in seconds since the epoch.
    """

    process: Process
    started: float
    exe: str
    is_qemu: bool
    name: str | None
    uuid: str | None
    devices: tuple[Device, ...]


@dataclasses.dataclass(frozen=True)
class Look:
    """The host at one moment. ``links`` are its taps and macvtaps with their MACs."""

    holders: dict[Process, Holder]
    links: dict[str, str | None]

    def qemus(self) -> list[Holder]:
        """Return the VMs."""
        return [holder for holder in self.holders.values() if holder.is_qemu]

    def held(self) -> dict[str, Holder]:
        """Return who holds a link, by its name."""
        return {
            device.dev: holder
            for holder in self.holders.values()
            for device in holder.devices
            if device.dev is not None
        }


def look() -> Look:
    """Look at every process and every link."""
    # Links first: a tap that is made meanwhile has its holder, and is no leak.
    links = {name: sysfs.address(name) for name in sysfs.names() if _is_tap(name)}
    pids = {note.pid: note for note in _state.other_notes("") if note.pid is not None}
    holders = {}
    for process in all_processes():
        found = [process.device_at(fd) for fd in sorted(process.fds())]
        devices = tuple(device for device in found if device is not None)
        # A qemu that holds nothing is of interest too: the trail may say otherwise.
        exe = _exe(process.pid)
        is_qemu = process.is_qemu() or names_qemu(exe)
        if not devices and not is_qemu:
            continue
        name, uuid = named(process.command_line())
        note = pids.get(process.pid)
        if note is not None and note.start_time == process.start_time:
            name, uuid = note.name, note.uuid
        holders[process] = Holder(
            process, _started(process), exe, is_qemu, name, uuid, devices
        )
    return Look(holders, links)


def _started(process: Process) -> float:
    """Return when a process was started; its own clock counts from the boot."""
    running = time.clock_gettime(time.CLOCK_BOOTTIME)
    running -= process.start_time / os.sysconf("SC_CLK_TCK")
    return time.time() - running


def _exe(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return "?"


def _is_tap(name: str) -> bool:
    return sysfs.is_tap(name) or sysfs.macvtap_rdev(name) is not None
