# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes, changes and removes links.

A tap needs only four ioctls (``netdevice(7)``, ``include/uapi/linux/sockios.h``), and one message of rtnetlink removes
a link. Everything else uses pyroute2. Its import takes 0.2 s, which is as long as the rest of a task. Only a macvtap
needs pyroute2.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import struct
import typing as t

from .._errors import LinkError
from . import sysfs
from .nic_link import guest_side_mac

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFMTU = 0x8922
_SIOCSIFHWADDR = 0x8924
_SIOCBRADDIF = 0x89A2
_SIOCBRDELIF = 0x89A3
_IFF_UP = 0x1
_IFF_ALLMULTI = 0x200
_NO_MAC = "00:00:00:00:00:00"
# drivers/net/tun.c: the largest frame without its Ethernet header
MAX_TAP_MTU = 65521
_ARPHRD_ETHER = 1
# struct ifreq: the name, then a union of 24 bytes
_IFREQ_FLAGS = struct.Struct("=16sh22x")
_IFREQ_NUMBER = struct.Struct("=16si20x")
_IFREQ_HWADDR = struct.Struct("=16sH6s16x")

# iproute2 and libvirt say passthrough, and the kernel's netlink name is passthru.
_KERNEL_MODE = {"passthrough": "passthru"}
# linux/if_link.h: enum macvlan_mode
_MODE_NAMES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthrough"}


def join_bridge(name: str, mac: str, bridge: str, mtu: int | None) -> None:
    """Give a tap its MAC and MTU, and make it a port of a bridge. It stays down.

    The bridge keeps its own MAC and MTU. Without this, the kernel would give it the smallest MTU of its ports
    and, if nobody set a MAC, the lowest MAC. Raises :class:`LinkError`.
    """
    own_mtu, own_mac = sysfs.mtu(bridge), sysfs.address(bridge)
    try:
        with _control() as control:
            _set_mac(control, name, guest_side_mac(mac))
            # With the bridge's own MTU the tap joins without changing the bridge's.
            _set_mtu(control, name, min(own_mtu or 1500, MAX_TAP_MTU))
            port = _IFREQ_NUMBER.pack(bridge.encode("ascii"), _index(name))
            fcntl.ioctl(control, _SIOCBRADDIF, port)
            if mtu is not None:
                _set_mtu(control, name, mtu)
            if own_mtu is not None and sysfs.mtu(bridge) != own_mtu:
                _set_mtu(control, bridge, own_mtu)
            if own_mac not in (None, _NO_MAC, sysfs.address(bridge)):
                _set_mac(control, bridge, str(own_mac))
    except OSError as exc:
        raise LinkError(
            f"{name} could not become a port of bridge {bridge}: {exc.strerror or exc}"
        ) from exc


def leave_bridge(name: str, bridge: str) -> None:
    """Take a port off its bridge. Raises :class:`LinkError`."""
    port = _IFREQ_NUMBER.pack(bridge.encode("ascii"), _index(name))
    with _settings(f"{name} could not be taken off bridge {bridge}") as control:
        fcntl.ioctl(control, _SIOCBRDELIF, port)


def set_mtu(name: str, mtu: int) -> None:
    """Set a link's MTU in bytes. Raises :class:`LinkError`."""
    with _settings(f"the MTU of {name} could not be set to {mtu}") as control:
        _set_mtu(control, name, mtu)


def set_port_mtu(name: str, bridge: str, mtu: int) -> None:
    """Set the MTU of a bridge's port, and keep that of the bridge. Raises :class:`LinkError`."""
    own = sysfs.mtu(bridge)
    set_mtu(name, mtu)
    if own is not None and sysfs.mtu(bridge) != own:
        set_mtu(bridge, own)


def set_mac(name: str, mac: str) -> None:
    """Set a link's MAC. Raises :class:`LinkError`."""
    with _settings(f"the MAC of {name} could not be set to {mac}") as control:
        _set_mac(control, name, mac)


def bring_up(name: str) -> None:
    """Bring a link up. Raises :class:`LinkError`."""
    with _settings(f"{name} could not be brought up") as control:
        _set_flags(control, name, _IFF_UP, 0)


def take_down(name: str) -> None:
    """Take a link down, so that it passes no frame. Raises :class:`LinkError`."""
    with _settings(f"{name} could not be taken down") as control:
        _set_flags(control, name, 0, _IFF_UP)


def receive_all_multicast(name: str) -> None:
    """Let a macvtap pass all multicast to its guest, because the host does not know the guest's groups.

    Raises :class:`LinkError`.
    """
    with _settings(f"{name} could not be set to allmulticast") as control:
        _set_flags(control, name, _IFF_ALLMULTI, 0)


def disable_ipv6(name: str) -> None:
    """Turn off the host's IPv6 on a guest's link. Raises :class:`LinkError`."""
    path = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
    try:
        with open(path, "w", encoding="ascii") as handle:
            handle.write("1")
    except FileNotFoundError:
        # This kernel has no IPv6.
        return
    except OSError as exc:
        raise LinkError(
            f"IPv6 could not be turned off on {name} ({path}): {exc.strerror or exc}"
        ) from exc


def add_macvtap(name: str, mac: str, lower: str, mode: str) -> int:
    """Make a macvtap on a lower device, and leave it down. Return its index."""
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


def remove(name: str) -> None:
    """Remove a link. A missing link is not an error.

    Never remove a tap that qemu holds, because qemu's main loop would spin.
    """
    index = sysfs.ifindex(name)
    if index is not None:
        remove_at(index, name)


def remove_at(ifindex: int, name: str) -> None:
    """Remove the link with an index. ``name`` is only for the message. A missing link is not an error.

    If the link is a tap, the kernel detaches each descriptor from it, so that nobody can use one any more. Raises
    :class:`LinkError`.
    """
    from . import netlink

    order = netlink.IFINFO.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0)
    try:
        netlink.talk(netlink.NETLINK_ROUTE, netlink.RTM_DELLINK, 0, order)
    except OSError as exc:
        if exc.errno != errno.ENODEV:
            raise LinkError(
                f"{name} could not be removed: {exc.strerror or exc}"
            ) from exc


def macvtap_mode(name: str) -> str | None:
    """Return a macvtap's mode in the words of the option ``mode``."""
    with _rtnetlink(f"the mode of macvtap {name} could not be read") as netlink:
        for link in netlink.get_links(_index(name)):
            info = link.get_attr("IFLA_LINKINFO")
            data = info.get_attr("IFLA_INFO_DATA") if info else None
            mode = data.get_attr("IFLA_MACVTAP_MODE") if data else None
            if mode is not None:
                return _mode_name(mode)
    return None


def kind(name: str) -> str | None:
    """Return the kind of a link in the words of ``ip link add``, or ``None`` for a network card."""
    with _rtnetlink(f"the kind of {name} could not be read") as netlink:
        for found in netlink.get_links(_index(name)):
            info = found.get_attr("IFLA_LINKINFO")
            return info.get_attr("IFLA_INFO_KIND") if info else None
    return None


def _mode_name(mode: object) -> str:
    """Return the kernel's name of a mode. Some versions of pyroute2 decode the mode to this name, others to a number."""
    if isinstance(mode, int):
        return _MODE_NAMES.get(mode, str(mode))
    return "passthrough" if mode == "passthru" else str(mode)


def _control() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@contextlib.contextmanager
def _settings(failure: str) -> t.Iterator[socket.socket]:
    try:
        with _control() as control:
            yield control
    except OSError as exc:
        raise LinkError(f"{failure}: {exc.strerror or exc}") from exc


def _set_mac(control: socket.socket, name: str, mac: str) -> None:
    address = bytes.fromhex(mac.replace(":", ""))
    hwaddr = _IFREQ_HWADDR.pack(name.encode("ascii"), _ARPHRD_ETHER, address)
    fcntl.ioctl(control, _SIOCSIFHWADDR, hwaddr)


def _set_mtu(control: socket.socket, name: str, mtu: int) -> None:
    fcntl.ioctl(control, _SIOCSIFMTU, _IFREQ_NUMBER.pack(name.encode("ascii"), mtu))


def _set_flags(control: socket.socket, name: str, more: int, less: int) -> None:
    ifname = name.encode("ascii")
    answer = fcntl.ioctl(control, _SIOCGIFFLAGS, _IFREQ_FLAGS.pack(ifname, 0))
    _name, flags = _IFREQ_FLAGS.unpack(answer)
    wanted = _IFREQ_FLAGS.pack(ifname, flags & ~less | more)
    fcntl.ioctl(control, _SIOCSIFFLAGS, wanted)


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
