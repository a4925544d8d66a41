# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out which processes hold which network device.

The device number of the open file, ``iff:`` in fdinfo and the index of the interface identify a device. The path
and the descriptor do not identify it, because anybody can make a node at another path or duplicate a descriptor.
Sources: ``proc(5)``, ``Documentation/networking/tuntap.rst``, ``Documentation/admin-guide/devices.txt``.
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
    format_number,
    format_rdev,
)
from .._files import read_kernel_file
from .._proc import Process, all_processes, raise_exhausted
from .._threads import Files, own_files
from . import sysfs
from .foreign_tap import is_foreign

_IFF_LINE = re.compile(r"^iff:\t(.+)$", re.MULTILINE)
_MACVTAP_NODE = re.compile(r"/dev/tap\d+")
_DELETED = " (deleted)"
_NOT_A_FILE = ("socket:[", "pipe:[", "anon_inode:")
_NODES = {TUN_PATH: TUN_RDEV, VHOST_NET_PATH: VHOST_NET_RDEV}
# qemu closes a descriptor before it answers. The wait is for a host under load, and for the kernel, which
# removes a tap a moment later.
_RELEASE_SECONDS = 0.5
_RELEASE_STEP_SECONDS = 0.002


class Holding(t.NamedTuple):
    """Somebody holds a link or a vdpa device. ``process`` is ``None`` if /proc does not show the holder, and ``fd`` is
    ``None`` also if only a thread of the holder has it.

    ``problem`` says in words why a link counts as held although no process holds it.
    """

    ifname: str
    process: Process | None = None
    fd: int | None = None
    problem: str | None = None

    def __str__(self) -> str:
        """Return the holder in words for a message."""
        if self.problem is not None:
            return self.problem
        if self.process is None:
            return (
                f"the tap {self.ifname} still exists, but no process shows a descriptor of it. So a descriptor is on "
                "its way through a socket, or the kernel keeps one for a process"
            )
        program = self.process.exe() or "a program that cannot be read"
        return (
            f"pid {self.process.pid} ({program}) holds {self.ifname} {where(self.fd)}"
        )


def of(process: Files) -> list[Device]:
    """Return all network devices that a process holds, by descriptor, or none if the process has ended."""
    found = (at(process, fd) for fd in sorted(process.fds()))
    return [opened for opened in found if opened is not None]


def hidden(process: Process) -> list[Device]:
    """Return the network devices that :func:`of` does not show, because only another thread of the process has them.

    They have no descriptor, because the descriptors of a process are those of its first thread.
    """
    tables = [of(files) for files in own_files(process)]
    shared = of(process) if any(tables) else []
    return [
        dataclasses.replace(opened, fd=None)
        for table in tables
        for opened in table
        if opened not in shared
    ]


def at(process: Files, fd: int) -> Device | None:
    """Return the network device behind a descriptor, or ``None`` if it is something else."""
    node = _node_at(process, fd)
    if node is None:
        return None
    path, rdev = node
    name = _interface_of(process, fd, path, rdev)
    # A macvtap that was removed, or is in another network namespace, has a node and no name.
    is_known = rdev in (TUN_RDEV, VHOST_NET_RDEV) or _MACVTAP_NODE.fullmatch(path)
    if name is None and not is_known:
        return None
    if _NODES.get(path, rdev) != rdev:
        # A node with that name is at another place, for example in a container's /dev.
        path += " (another node)"
    return Device(path=path, rdev=format_rdev(rdev), dev=name, fd=fd)


def still_at(process: Process, known: Device) -> bool:
    """Tell whether a process still holds a device at the known descriptor.

    The descriptor of vhost-net has no interface, and that of a removed macvtap no longer has one. For these
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
    known = {opened.fd for opened in left}
    return left + [
        opened
        for opened in of(process)
        if opened.fd not in known
        and any(_has_same_link(opened, each) for each in devices)
    ]


def _has_same_link(now: Device, known: Device) -> bool:
    """Tell whether a device can be a queue of a known device's link. The trail may not have the number of the known device."""
    if known.is_vhost or known.dev is None:
        return False
    return now.dev == known.dev and known.rdev in (None, now.rdev)


def is_behind(process: Process, opened: Device, name: str) -> bool:
    """Tell whether a device whose link has a name belongs to the link, or to the vdpa device, of this host's that has it.

    A link in another network namespace can have the same name. A macvtap is held only through its own number.
    """
    number = sysfs.macvtap_rdev(name)
    if number is not None:
        return opened.rdev == format_number(number)
    if opened.rdev != format_rdev(TUN_RDEV):
        return True
    # A vdpa device has no link, and a tap has one.
    return sysfs.exists(name) and not (
        opened.fd is not None and is_foreign(process, opened.fd)
    )


def beside(process: Process, known: t.Iterable[Device]) -> list[Device]:
    """Return the network devices that a process holds besides the known ones, by their descriptors."""
    # The code looks at each descriptor once, because each NIC has several.
    given: dict[int | None, list[Device]] = {}
    for opened in known:
        given.setdefault(opened.fd, []).append(opened)
    return [
        opened
        for opened in of(process)
        if not any(_is_still(each, opened) for each in given.get(opened.fd, []))
    ]


def _is_still(known: Device, now: Device) -> bool:
    """Tell whether the file at a descriptor can be the device that was at that descriptor before."""
    return now.rdev == known.rdev and now.dev in (None, known.dev)


def words(opened: Device) -> str:
    """Return a held device in words for a message."""
    link = f" ({opened.dev})" if opened.dev else ""
    return f"{opened.path}{link} {where(opened.fd)}"


def where(fd: int | None) -> str:
    """Return in words where a process has a device open."""
    if fd is None:
        return "in a thread with descriptors of its own, which /proc/<pid>/task/<thread>/fd shows"
    return f"as descriptor {fd}"


def wait_released(process: Process, devices: t.Sequence[Device]) -> list[Device]:
    """Wait a moment until a process gives up devices. Return those that it still holds."""
    return _wait(lambda: kept(process, devices)) or []


def wait_all_released(
    process: Process, groups: t.Mapping[str, t.Sequence[Device]]
) -> dict[str, list[Device]]:
    """Do the same for the devices of several interfaces at once. Each group has the devices of one interface."""
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
    """Return who holds a tap, macvtap or vdpa device, or ``None`` if nobody does. The code makes the cheap checks first.

    Nobody holds a link whose index is gone. The code looks at the process ``first``, which is the VM's own, and then
    at all processes. If no process shows a descriptor of a tap, somebody still holds the tap as long as it exists,
    because the kernel removes it with its last descriptor. This is not true of a persistent tap. For a tap
    that this collection made, use :mod:`persistent`. A vdpa device has no link, so only /proc shows its holder.
    """
    if VDPA_NODE.fullmatch(ifname) and ifindex is None and not sysfs.exists(ifname):
        return _search(ifname, first)
    name = sysfs.name_of(ifindex) if ifindex is not None else ifname
    if name is None or not sysfs.exists(name):
        return None
    found = _search(name, first)
    if found is None and sysfs.is_tun(name) and not sysfs.is_persistent(name):
        # The link may have disappeared meanwhile.
        here = sysfs.exists(name) and sysfs.is_same(name, ifindex)
        return Holding(name) if here else None
    return found


def wait_free(
    ifname: str, ifindex: int | None, first: Process | None = None
) -> Holding | None:
    """Wait a moment until nobody holds a tap, macvtap or vdpa device. Return who still holds it, or ``None``."""
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
    # The second look takes longer, and hardly ever finds something.
    for look in (of, hidden):
        for process in (*([first] if first else []), *all_processes()):
            for opened in look(process):
                if opened.dev == name and is_behind(process, opened, name):
                    return Holding(name, process, opened.fd)
    return None


def _node_at(process: Files, fd: int) -> tuple[str, int] | None:
    """Return the path and the device number of the character device behind a descriptor."""
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
        # The node of a removed macvtap no longer exists, but the descriptor is still open.
        return path.replace(_DELETED, ""), status.st_rdev
    return None


def _interface_of(process: Files, fd: int, path: str, rdev: int) -> str | None:
    if rdev == TUN_RDEV:
        return _tun_name(process, fd)
    if rdev == VHOST_NET_RDEV:
        return None
    vdpa = sysfs.vdpa_of(os.major(rdev), os.minor(rdev))
    if vdpa is not None:
        return vdpa
    name = sysfs.macvtap_of(os.major(rdev), os.minor(rdev))
    # The next macvtap gets the device number of a removed one, but not the name of its node.
    stale = _MACVTAP_NODE.fullmatch(path) and name and path != sysfs.macvtap_node(name)
    return None if stale else name


def _tun_name(process: Files, fd: int) -> str | None:
    for thread in process.files():
        try:
            said = read_kernel_file(f"{thread}/fdinfo/{fd}")
            match = _IFF_LINE.search(said.decode("utf-8", "replace"))
            return match.group(1) if match else None
        except OSError as exc:
            raise_exhausted(exc)
    return None
