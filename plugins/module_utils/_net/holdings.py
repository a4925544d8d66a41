# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which processes hold which network device.

A device is known by the device number of the open file, by ``iff:`` in fdinfo and by the index of its
interface. Its path and its number are the holder's choice: a node can be made anywhere, and a
descriptor be duplicated. Sources: ``proc(5)``, ``Documentation/networking/tuntap.rst``,
``Documentation/admin-guide/devices.txt``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import time
import typing as t

from .._device import (
    TUN_PATH,
    TUN_RDEV,
    VDPA_NODE,
    VHOST_NET_PATH,
    VHOST_NET_RDEV,
    Device,
    format_rdev,
)
from .._files import read_kernel_file
from .._proc import Process, all_processes, raise_exhausted
from . import sysfs

_IFF_LINE = re.compile(r"^iff:\t(.+)$", re.MULTILINE)
_MACVTAP_NODE = re.compile(r"/dev/tap\d+")
_DELETED = " (deleted)"
_NOT_A_FILE = ("socket:[", "pipe:[", "anon_inode:")
_NODES = {TUN_PATH: TUN_RDEV, VHOST_NET_PATH: VHOST_NET_RDEV}
# A descriptor is closed before qemu answers; this is for a loaded host, and for the kernel to remove a tap.
_RELEASE_SECONDS = 0.5
_RELEASE_STEP_SECONDS = 0.002


@dataclasses.dataclass(frozen=True)
class Holding:
    """Somebody holds a link or a vdpa device. ``process`` and ``fd`` are ``None`` when /proc does not show who."""

    ifname: str
    process: Process | None = None
    fd: int | None = None

    def __str__(self) -> str:
        """Return it in words for a message."""
        if self.process is None:
            return (
                f"the tap {self.ifname} is still there and no process shows a descriptor of it, so one is on its way"
                " through a socket or kept by the kernel for a process"
            )
        program = self.process.exe() or "a program that cannot be read"
        return f"pid {self.process.pid} ({program}) holds {self.ifname} as descriptor {self.fd}"


def of(process: Process) -> list[Device]:
    """Return all network devices that a process holds, by descriptor; none when the process is gone."""
    found = (at(process, fd) for fd in sorted(process.fds()))
    return [opened for opened in found if opened is not None]


def at(process: Process, fd: int) -> Device | None:
    """Return the network device behind a descriptor, ``None`` when it is something else."""
    node = _node_at(process, fd)
    if node is None:
        return None
    path, rdev = node
    name = _interface_of(process, fd, path, rdev)
    if name is None and rdev not in (TUN_RDEV, VHOST_NET_RDEV):
        return None
    if _NODES.get(path, rdev) != rdev:
        # A node of that name stands elsewhere, in a container's /dev.
        path += " (another node)"
    return Device(path=path, rdev=format_rdev(rdev), dev=name, fd=fd)


def still_at(process: Process, known: Device) -> bool:
    """Tell whether a process still holds a device at the descriptor that is known.

    A vhost-net descriptor carries no interface, and that of a removed macvtap none any more: there
    only the device number is compared.
    """
    node = None if known.fd is None else _node_at(process, known.fd)
    if known.fd is None or node is None:
        return False
    path, rdev = node
    if format_rdev(rdev) != known.rdev:
        return False
    return _interface_of(process, known.fd, path, rdev) in (None, known.dev)


def kept(process: Process, devices: t.Sequence[Device]) -> list[Device]:
    """Return those devices of an interface that a process still holds, at the known descriptor or at another one."""
    left = [opened for opened in devices if still_at(process, opened)]
    names = {opened.dev for opened in devices if not opened.is_vhost} - {None}
    known = {opened.fd for opened in left}
    return left + [
        opened
        for opened in of(process)
        if opened.dev in names and opened.fd not in known
    ]


def beside(process: Process, known: t.Iterable[Device]) -> list[Device]:
    """Return the network devices that a process holds beside those that are known, by their descriptors."""
    # Each descriptor is looked at once: there are some for each NIC.
    given: dict[int | None, list[Device]] = {}
    for opened in known:
        given.setdefault(opened.fd, []).append(opened)
    return [
        opened
        for opened in of(process)
        if not any(_is_still(each, opened) for each in given.get(opened.fd, []))
    ]


def _is_still(known: Device, now: Device) -> bool:
    """Tell whether what stands at a descriptor now can be the device that is known to have stood there."""
    return now.rdev == known.rdev and now.dev in (None, known.dev)


def words(opened: Device) -> str:
    """Return a held device in words for a message."""
    link = f" ({opened.dev})" if opened.dev else ""
    return f"{opened.path}{link} as descriptor {opened.fd}"


def wait_released(process: Process, devices: t.Sequence[Device]) -> list[Device]:
    """Wait a moment for a process to give up devices; return those that it still holds."""
    return _wait(lambda: kept(process, devices)) or []


def wait_all_released(
    process: Process, groups: t.Mapping[str, t.Sequence[Device]]
) -> dict[str, list[Device]]:
    """Do the same for the devices of several interfaces at once; each group has those of one."""
    everything = [opened for devices in groups.values() for opened in devices]
    left = wait_released(process, everything)
    return {
        name: [each for each in left if _is_one_of(each, devices)]
        for name, devices in groups.items()
    }


def _is_one_of(held: Device, devices: t.Sequence[Device]) -> bool:
    return any(
        held is each or (not each.is_vhost and held.dev == each.dev) for each in devices
    )


def holder_of(
    ifname: str, ifindex: int | None, first: Process | None = None
) -> Holding | None:
    """Return who holds a tap, macvtap or vdpa device, ``None`` when nobody does. The cheap answers come first.

    A link whose index is gone is held by nobody. Then the process ``first`` is asked, which is the
    VM's own, then all processes. A tap without an owner in /proc is held all the same, as long as it
    is there: it goes with its last descriptor, wherever that is. A vdpa device has no link: only /proc tells.
    """
    if VDPA_NODE.fullmatch(ifname) and ifindex is None and not sysfs.exists(ifname):
        return _search(ifname, first)
    name = sysfs.name_of(ifindex) if ifindex is not None else ifname
    if name is None or not sysfs.exists(name):
        return None
    found = _search(name, first)
    if found is None and sysfs.is_tun(name) and not sysfs.is_persistent(name):
        # It may have gone meanwhile.
        here = sysfs.exists(name) and ifindex in (None, sysfs.ifindex(name))
        return Holding(name) if here else None
    return found


def wait_free(
    ifname: str, ifindex: int | None, first: Process | None = None
) -> Holding | None:
    """Wait a moment until nobody holds a tap, macvtap or vdpa device; return who still does, ``None`` for nobody."""
    return _wait(lambda: holder_of(ifname, ifindex, first))


_Found = t.TypeVar("_Found")


def _wait(look: t.Callable[[], _Found]) -> _Found:
    deadline = time.monotonic() + _RELEASE_SECONDS
    found = look()
    while found and time.monotonic() < deadline:
        time.sleep(_RELEASE_STEP_SECONDS)
        found = look()
    return found


def _search(name: str, first: Process | None) -> Holding | None:
    for process in (*([first] if first else []), *all_processes()):
        for opened in of(process):
            if opened.dev == name:
                return Holding(name, process, opened.fd)
    return None


def _node_at(process: Process, fd: int) -> tuple[str, int] | None:
    """Return path and device number of the character device behind a descriptor."""
    for thread in process.files():
        link = f"{thread}/fd/{fd}"
        try:
            path = os.readlink(link)
            if path.startswith(_NOT_A_FILE):
                return None
            status = os.stat(link)
        except OSError as exc:
            raise_exhausted(exc)
            continue
        if not stat.S_ISCHR(status.st_mode):
            return None
        # The node of a removed macvtap is gone, and the descriptor is as open as before.
        return path.replace(_DELETED, ""), status.st_rdev
    return None


def _interface_of(process: Process, fd: int, path: str, rdev: int) -> str | None:
    if rdev == TUN_RDEV:
        return _tun_name(process, fd)
    if rdev == VHOST_NET_RDEV:
        return None
    vdpa = sysfs.vdpa_of(os.major(rdev), os.minor(rdev))
    if vdpa is not None:
        return vdpa
    name = sysfs.macvtap_of(os.major(rdev), os.minor(rdev))
    # The device number of a removed macvtap goes to the next one; the name of its node does not.
    stale = _MACVTAP_NODE.fullmatch(path) and name and path != sysfs.macvtap_node(name)
    return None if stale else name


def _tun_name(process: Process, fd: int) -> str | None:
    for thread in process.files():
        try:
            said = read_kernel_file(f"{thread}/fdinfo/{fd}")
            match = _IFF_LINE.search(said.decode("utf-8", "replace"))
            return match.group(1) if match else None
        except OSError as exc:
            raise_exhausted(exc)
    return None
