# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes, changes and removes links.

What a tap needs is four ioctls (``netdevice(7)``, ``include/uapi/linux/sockios.h``). All else is rtnetlink
with pyroute2, which takes 0.2 s to import, as long as all the rest of a task: only a macvtap needs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import typing as t

from .._errors import LinkError
from . import sysfs

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFMTU = 0x8922
_SIOCSIFHWADDR = 0x8924
_SIOCBRADDIF = 0x89A2
_IFF_UP = 0x1
_ARPHRD_ETHER = 1
# struct ifreq: the name, then a union of 24 bytes
_IFREQ_FLAGS = struct.Struct("=16sh22x")
_IFREQ_NUMBER = struct.Struct("=16si20x")
_IFREQ_HWADDR = struct.Struct("=16sH6s16x")

# iproute2 and libvirt say passthrough, the kernel's netlink name is passthru.
_KERNEL_MODE = {"passthrough": "passthru"}
# linux/if_link.h: enum macvlan_mode
_MODE_NAMES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthrough"}


def guest_side_mac(mac: str) -> str:
    """Return the MAC of the tap itself, from that of the guest's NIC.

    The highest byte keeps a bridge from taking the tap's MAC for its own; libvirt does the
    same (FE, or FA when the guest's MAC begins with FE already).
    """
    return ("fa" if mac.startswith("fe") else "fe") + mac[2:]


def join_bridge(name: str, mac: str, bridge: str, mtu: int | None) -> None:
    """Give a tap its MAC and MTU, make it a port of a bridge and bring it up.

    MAC and MTU come before the bridge sees the port: it would take them over.
    """
    ifname = name.encode("ascii")
    address = bytes.fromhex(guest_side_mac(mac).replace(":", ""))
    size = mtu or sysfs.mtu(bridge) or 1500
    port = _IFREQ_NUMBER.pack(bridge.encode("ascii"), _index(name))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            hwaddr = _IFREQ_HWADDR.pack(ifname, _ARPHRD_ETHER, address)
            fcntl.ioctl(control, _SIOCSIFHWADDR, hwaddr)
            fcntl.ioctl(control, _SIOCSIFMTU, _IFREQ_NUMBER.pack(ifname, size))
            fcntl.ioctl(control, _SIOCBRADDIF, port)
            answer = fcntl.ioctl(control, _SIOCGIFFLAGS, _IFREQ_FLAGS.pack(ifname, 0))
            _name, flags = _IFREQ_FLAGS.unpack(answer)
            up = _IFREQ_FLAGS.pack(ifname, flags | _IFF_UP)
            fcntl.ioctl(control, _SIOCSIFFLAGS, up)
    except OSError as exc:
        raise LinkError(
            f"{name} could not be made a port of bridge {bridge}: {exc.strerror or exc}"
        ) from exc


def add_macvtap(name: str, mac: str, lower: str, mode: str) -> int:
    """Make a macvtap on a lower device, down still; return its index."""
    with _rtnetlink(
        f"macvtap {name} on {lower} (mode {mode}) could not be made"
    ) as netlink:
        netlink.link(
            "add",
            ifname=name,
            kind="macvtap",
            link=_index(lower),
            macvtap_mode=_KERNEL_MODE.get(mode, mode),
            address=mac,
        )
        return _index(name)


def bring_up(name: str, mtu: int | None) -> None:
    """Set a link's MTU where one is asked, and bring it up."""
    with _rtnetlink(f"{name} could not be brought up") as netlink:
        options: dict[str, t.Any] = {} if mtu is None else {"mtu": mtu}
        netlink.link("set", index=_index(name), state="up", **options)


def remove(name: str) -> None:
    """Remove a link; one that is gone already is no error.

    Never a tap that qemu holds: its main loop would spin.
    """
    with _rtnetlink(f"{name} could not be removed") as netlink:
        index = sysfs.ifindex(name)
        if index is not None:
            netlink.link("del", index=index)


def macvtap_mode(name: str) -> str | None:
    """Return a macvtap's mode as the option ``mode`` names it."""
    with _rtnetlink(f"the mode of macvtap {name} could not be read") as netlink:
        for link in netlink.get_links(_index(name)):
            info = link.get_attr("IFLA_LINKINFO")
            data = info.get_attr("IFLA_INFO_DATA") if info else None
            mode = data.get_attr("IFLA_MACVTAP_MODE") if data else None
            if mode is not None:
                return _mode_name(mode)
    return None


def _mode_name(mode: object) -> str:
    """pyroute2 decodes the mode to its kernel name in some versions, to its number in others."""
    if isinstance(mode, int):
        return _MODE_NAMES.get(mode, str(mode))
    return "passthrough" if mode == "passthru" else str(mode)


def _index(name: str) -> int:
    index = sysfs.ifindex(name)
    if index is None:
        raise LinkError(f"there is no link {name} in this network namespace")
    return index


@contextlib.contextmanager
def _rtnetlink(failure: str) -> t.Iterator[t.Any]:
    try:
        from pyroute2.iproute import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError as exc:
        raise LinkError(f"{failure}: the Python library pyroute2 is missing") from exc
    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as exc:
        raise LinkError(f"{failure}: {exc.args[-1] if exc.args else exc}") from exc
    except OSError as exc:
        raise LinkError(f"{failure}: {exc.strerror or exc}") from exc
