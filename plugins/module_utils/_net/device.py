# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens network devices: /dev/net/tun, macvtap's /dev/tapN, /dev/vhost-net.

Sources: ``include/uapi/linux/if_tun.h``, ``Documentation/networking/tuntap.rst``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import typing as t

from .._device import Device, format_rdev
from .._errors import DeviceError
from . import sysfs

_TUNSETIFF = 0x400454CA
_TUNSETOWNER = 0x400454CC
_TUNGETIFF = 0x800454D2
_IFF_TAP = 0x0002
_IFF_MULTI_QUEUE = 0x0100
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_TUN_EXCL = 0x8000
# struct ifreq: the name, then the flags in a union of 24 bytes
_IFREQ = struct.Struct("=16sH22x")

_MEANING = {
    errno.ENOENT: "the node does not exist; load its kernel module",
    errno.ENXIO: "no driver serves the node; load its kernel module",
    errno.ENODEV: "no driver serves the node; load its kernel module",
    errno.EACCES: "permission denied; the task needs root (become: true)",
    errno.EPERM: "operation not permitted; the task needs CAP_NET_ADMIN (become: true)",
    errno.EBUSY: "it is in use",
    errno.EMFILE: "too many open files in the module; raise its limit (ulimit -n)",
    errno.ENFILE: "too many open files on the host",
}


class Attempt(t.NamedTuple):
    """An open(2) failed. The error carries the values that its record needs."""

    path: str
    rdev: str | None
    dev: str | None


def rdev_of(path: str) -> str | None:
    """Return a node's device number, or ``None`` if there is no node."""
    try:
        return format_rdev(os.stat(path).st_rdev)
    except OSError:
        return None


def open_node(path: str) -> Device:
    """Open a node for reading and writing, not inheritable. Raises :class:`OSError`."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return Device(
            path=path, rdev=format_rdev(os.fstat(fd).st_rdev), dev=None, fd=fd
        )
    except BaseException:
        os.close(fd)
        raise


def become_tap(device: Device, ifname: str, queues: int, first: bool) -> None:
    """Make an open /dev/net/tun one queue of a tap.

    ``first`` requires that the tap is new, because the kernel would also join an existing tap. It makes root
    the owner of the tap, and then requires that nobody joined before that.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    if queues > 1:
        flags |= _IFF_MULTI_QUEUE
    _set_interface(device, ifname, flags | (_IFF_TUN_EXCL if first else 0))
    if first:
        _take_ownership(device, ifname)
    _verify(device, ifname, flags)
    device.dev = ifname


def become_macvtap(device: Device, ifname: str, queues: int) -> None:
    """Set the flags of an open /dev/tapN, and verify that ``ifname`` is behind it.

    The number of the node is an ifindex, and another network namespace has another interface with that ifindex.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    if queues > 1:
        flags |= _IFF_MULTI_QUEUE
    _set_interface(device, ifname, flags)
    _verify(device, ifname, flags)
    device.dev = ifname


def serves(device: Device, ifname: str) -> bool:
    """Ask the kernel whether an open node is a queue of a link. The flags of the queue do not matter."""
    try:
        return _interface_behind(device)[0] == ifname
    except OSError:
        return False


def explain(exc: OSError) -> str:
    """Return what an errno of open(2) or TUNSETIFF means for these devices."""
    return _MEANING.get(exc.errno or 0, exc.strerror or str(exc))


def _set_interface(device: Device, ifname: str, flags: int) -> None:
    try:
        fcntl.ioctl(device, _TUNSETIFF, _IFREQ.pack(ifname.encode("ascii"), flags))
    except OSError as exc:
        raise DeviceError(
            f"the kernel could not connect {device.path} to {ifname}: {explain(exc)}"
        ) from exc


def _take_ownership(device: Device, ifname: str) -> None:
    """Make root the owner of a new tap, because any user may join a tap without an owner (``tun_set_iff()``)."""
    try:
        fcntl.ioctl(device, _TUNSETOWNER, 0)
    except OSError as exc:
        raise DeviceError(
            f"root could not become the owner of {ifname}: {explain(exc)}"
        ) from exc
    queues = sysfs.transmit_queues(ifname)
    if queues > 1:
        raise DeviceError(
            f"{ifname} has {queues} queues right after it was made, so another process has joined it. The task has "
            "closed it again. Find out who opens /dev/net/tun on this host, and forbid that (chmod 0600 /dev/net/tun)"
        )


def _verify(device: Device, ifname: str, flags: int) -> None:
    # qemu accepts a descriptor with other flags silently, and the guest would get garbage.
    try:
        found, got = _interface_behind(device)
    except OSError as exc:
        raise DeviceError(
            f"the kernel does not tell which interface is behind {device.path}: {explain(exc)}"
        ) from exc
    if found != ifname:
        raise DeviceError(
            f"{device.path} leads to the interface {found} and not to {ifname}, so the node belongs to another network "
            "namespace"
        )
    if got & flags != flags:
        raise DeviceError(
            f"{device.path} has the flags {got:#06x}, and qemu needs {flags:#06x}"
        )


def _interface_behind(device: Device) -> tuple[str, int]:
    """Return the name of the interface behind an open node, and the flags of this queue. Raises :class:`OSError`."""
    answer = fcntl.ioctl(device, _TUNGETIFF, bytes(_IFREQ.size))
    name, flags = _IFREQ.unpack(answer)
    return name.rstrip(b"\0").decode("ascii", "replace"), flags
