# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets the flags of a bridge's port (isolation, learning, floods), and pins the guest's MAC to it.

Sources: ``bridge(8)``, ``include/uapi/linux/neighbour.h``, ``/sys/class/net/<port>/brport``. The kernel removes
the flags with the port.
"""

from __future__ import annotations

import errno
import socket
import struct
import typing as t

from .._errors import LinkError
from . import netlink, sysfs

_RTM_NEWNEIGH = 28
_RTM_DELNEIGH = 29
_RTM_GETNEIGH = 30
_NDA_LLADDR = 2
_NUD_NOARP = 0x40
_NTF_MASTER = 0x04
# struct ndmsg: family, index, state, flags, type
_NDMSG = struct.Struct("=BxxxiHBB")


class PortFlags(t.NamedTuple):
    """The flags of a port.

    ``isolated``: it exchanges no frame with other isolated ports, and gets no unicast frame that is for others.
    ``pinned``: it has its guest's MAC and learns no other, so that a guest cannot redirect the frames of
    another guest to itself. ``guarded``: on a bridge with STP, a BPDU from the guest disables the port.
    """

    isolated: bool
    pinned: bool
    guarded: bool = False

    def values(self) -> dict[str, bool]:
        """Return the flags by their names in sysfs."""
        return {
            "isolated": self.isolated,
            "unicast_flood": not self.isolated,
            "learning": not self.pinned,
            "bpdu_guard": self.guarded,
        }


def flags_for(isolated: bool, filtered: bool, bridge: str) -> PortFlags:
    """Return the flags that a NIC's port needs for its network.

    Frames between switches never reach the filter, because the bridge learns from them and gives BPDUs to its
    STP before.
    """
    guarded = filtered and sysfs.has_stp(bridge)
    return PortFlags(isolated, isolated or filtered, guarded)


def read(name: str, mac: str) -> PortFlags | None:
    """Return a port's flags, or ``None`` if this module never sets such flags. Raises :class:`LinkError`."""
    values = {
        flag: sysfs.port_flag(name, flag) for flag in PortFlags(False, False).values()
    }
    learning = values["learning"]
    flags = PortFlags(
        bool(values["isolated"]), not learning, bool(values["bpdu_guard"])
    )
    whole = flags.values() == values and flags.pinned == is_pinned(name, mac)
    return flags if whole else None


def apply(name: str, mac: str, flags: PortFlags) -> None:
    """Set a port's flags, and read them back. Raises :class:`LinkError`."""
    if flags.pinned:
        pin(name, mac)
    for flag, value in flags.values().items():
        if sysfs.port_flag(name, flag) is not value:
            _set(name, flag, value)
    if not flags.pinned:
        unpin(name, mac)
    if read(name, mac) != flags:
        raise LinkError(
            f"the bridge port {name} should be {_words(flags)}, and the kernel says that it is not"
        )


def pin(name: str, mac: str) -> None:
    """Add the static entry of its guest's MAC to a port, in each of the port's VLANs. Raises :class:`LinkError`."""
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    _neighbour(name, mac, _RTM_NEWNEIGH, flags)


def unpin(name: str, mac: str) -> None:
    """Remove the static entry of the guest's MAC, before its port gets other VLANs. Raises :class:`LinkError`."""
    if is_pinned(name, mac):
        _neighbour(name, mac, _RTM_DELNEIGH, 0)


def is_pinned(name: str, mac: str) -> bool:
    """Tell whether a port has a static entry of a MAC. Raises :class:`LinkError`."""
    try:
        replies = netlink.talk(
            netlink.NETLINK_ROUTE, _RTM_GETNEIGH, 0, _message(name, mac, 0)
        )
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return False
        raise LinkError(
            f"the entry of {mac} at the bridge port {name} could not be read: {exc.strerror or exc}"
        ) from exc
    for reply in replies:
        _family, index, state, _flags, _type = _NDMSG.unpack_from(reply.payload)
        if index == sysfs.ifindex(name) and state & _NUD_NOARP:
            return True
    return False


def _set(name: str, flag: str, value: bool) -> None:
    try:
        sysfs.set_port_flag(name, flag, value)
    except OSError as exc:
        raise LinkError(
            f"the flag {flag} of the bridge port {name} could not be set: {exc.strerror or exc}"
        ) from exc


def _neighbour(name: str, mac: str, kind: int, flags: int) -> None:
    request = _message(name, mac, _NUD_NOARP)
    try:
        netlink.talk(netlink.NETLINK_ROUTE, kind, flags, request)
    except OSError as exc:
        raise LinkError(
            f"{mac} could not be pinned to the bridge port {name}: {exc.strerror or exc}"
        ) from exc


def _message(name: str, mac: str, state: int) -> bytes:
    index = sysfs.ifindex(name)
    if index is None:
        raise LinkError(f"there is no link {name} in this network namespace")
    header = _NDMSG.pack(socket.AF_BRIDGE, index, state, _NTF_MASTER, 0)
    address = bytes.fromhex(mac.replace(":", ""))
    return header + netlink.attribute(_NDA_LLADDR, address)


def _words(flags: PortFlags) -> str:
    asked = [word for word, value in flags._asdict().items() if value]
    return " and ".join(asked) or "an ordinary port"
