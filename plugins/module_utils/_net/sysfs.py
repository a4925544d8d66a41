# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads from /sys/class/net about the links of this network namespace, and changes nothing.

Reading a file takes less time than the import of a netlink library. A task that changes nothing needs no such library.
"""

from __future__ import annotations

import os
import socket

from .._device import VDPA_NODE
from .._files import read_kernel_file
from .._proc import raise_exhausted

_NET = "/sys/class/net"
_IFF_UP = 0x1
# include/uapi/linux/if_tun.h
_IFF_TAP = 0x2
_IFF_PERSIST = 0x800
# include/uapi/linux/if_bridge.h: BR_STATE_*
_PORT_STATES = {
    0: "disabled",
    1: "listening",
    2: "learning",
    3: "forwarding",
    4: "blocking",
}
_TAP_CLASSES = ("macvtap", "ipvtap")


def names() -> list[str]:
    """Return the names of all links."""
    return sorted(os.listdir(_NET))


def exists(name: str) -> bool:
    """Tell whether a link has this name."""
    return os.path.exists(f"{_NET}/{name}")


def is_bridge(name: str) -> bool:
    """Tell whether the link is a Linux bridge."""
    return os.path.isdir(f"{_NET}/{name}/bridge")


def is_tun(name: str) -> bool:
    """Tell whether the link is a tun or tap device."""
    return os.path.exists(f"{_NET}/{name}/tun_flags")


def is_tap(name: str) -> bool:
    """Tell whether the link is a tap, which is a tun that carries Ethernet frames."""
    return bool(int(_read(name, "tun_flags") or "0", 16) & _IFF_TAP)


def is_up(name: str) -> bool:
    """Tell whether the link is administratively up."""
    return bool(int(_read(name, "flags") or "0", 16) & _IFF_UP)


def mtu(name: str) -> int | None:
    """Return the link's MTU in bytes."""
    return _number(name, "mtu")


def ifindex(name: str) -> int | None:
    """Return the link's index."""
    return _number(name, "ifindex")


def is_same(name: str, index: int | None) -> bool:
    """Tell whether the link that has a name now has a known index too. Without a known index, its name decides.

    A link keeps its index when it is renamed. A new link that gets the name of a removed one has another index.
    """
    return index in (None, ifindex(name))


def address(name: str) -> str | None:
    """Return the link's MAC."""
    return _read(name, "address")


def transmit_queues(name: str) -> int:
    """Return how many transmit queues the link has, or 0 if that is unknown."""
    try:
        entries = os.listdir(f"{_NET}/{name}/queues")
    except OSError as exc:
        raise_exhausted(exc)
        return 0
    return sum(entry.startswith("tx-") for entry in entries)


def master(name: str) -> str | None:
    """Return the name of the bridge or bond that the link is a port of."""
    try:
        return os.path.basename(os.readlink(f"{_NET}/{name}/master"))
    except OSError:
        return None


def uppers(name: str) -> list[str]:
    """Return the names of the links on top of this one: macvtaps, VLANs, bridges."""
    return _related(name, "upper_")


def lower(name: str) -> str | None:
    """Return the name of the lower device of this link (a macvtap)."""
    return next(iter(_related(name, "lower_")), None)


def macvtap_rdev(name: str) -> str | None:
    """Return ``major:minor`` of a macvtap's node in sysfs's form, or ``None`` if the link is not a macvtap."""
    index = ifindex(name)
    return None if index is None else _read(name, f"tap{index}/dev")


def macvtap_node(name: str) -> str:
    """Return the path of a macvtap's node. Its number is the link's index."""
    return f"/dev/tap{ifindex(name)}"


def macvtap_of(major: int, minor: int) -> str | None:
    """Return the name of the macvtap (or ipvtap) behind a character device."""
    # /sys/devices/virtual/net/<name>/macvtap/tap<ifindex>
    parts = os.path.realpath(f"/sys/dev/char/{major}:{minor}").split("/")
    return parts[-3] if len(parts) > 3 and parts[-2] in _TAP_CLASSES else None


def vdpa_of(major: int, minor: int) -> str | None:
    """Return the name of a vdpa device's node, ``vhost-vdpa-<N>``, or ``None`` for another character device."""
    name = os.path.basename(os.path.realpath(f"/sys/dev/char/{major}:{minor}"))
    return name if VDPA_NODE.fullmatch(name) else None


def name_of(index: int) -> str | None:
    """Return the present name of the link with an index, or ``None`` if there is none."""
    try:
        return socket.if_indextoname(index)
    except OSError as exc:
        raise_exhausted(exc)
        return None


def is_persistent(name: str) -> bool:
    """Tell whether a tap stays when its last descriptor is closed."""
    return bool(int(_read(name, "tun_flags") or "0", 16) & _IFF_PERSIST)


def has_stp(bridge: str) -> bool:
    """Tell whether a bridge takes part in the spanning tree."""
    return _read(bridge, "bridge/stp_state") not in (None, "0")


def filters_vlans(bridge: str) -> bool:
    """Tell whether a bridge keeps VLANs apart."""
    return _read(bridge, "bridge/vlan_filtering") == "1"


def default_vid(bridge: str) -> int | None:
    """Return the VLAN that a bridge gives a new port, or ``None`` if it gives none."""
    return _number(bridge, "bridge/default_pvid") or None


def forward_delay(bridge: str) -> float:
    """Return for how many seconds a bridge's spanning tree listens, and then learns, before a port forwards."""
    return (_number(bridge, "bridge/forward_delay") or 0) / 100


def port_flag(name: str, flag: str) -> bool | None:
    """Return a flag of a bridge's port, or ``None`` if the port has no flag with that name."""
    text = _read(name, f"brport/{flag}")
    return None if text is None else text != "0"


def set_port_flag(name: str, flag: str, value: bool) -> None:
    """Set a flag of a bridge's port. Raises :class:`OSError`."""
    with open(f"{_NET}/{name}/brport/{flag}", "w", encoding="ascii") as handle:
        handle.write("1" if value else "0")


def port_state(name: str) -> str | None:
    """Return what the spanning tree lets a bridge's port do: ``disabled``, ``listening``, ..., ``forwarding``."""
    number = _number(name, "brport/state")
    return None if number is None else _PORT_STATES.get(number, str(number))


def _related(name: str, prefix: str) -> list[str]:
    try:
        entries = os.listdir(f"{_NET}/{name}")
    except OSError as exc:
        raise_exhausted(exc)
        return []
    return sorted(entry[len(prefix) :] for entry in entries if entry.startswith(prefix))


def _read(name: str, attribute: str) -> str | None:
    try:
        return read_kernel_file(f"{_NET}/{name}/{attribute}").decode("ascii").strip()
    except OSError as exc:
        raise_exhausted(exc)
    except UnicodeDecodeError:
        pass
    return None


def _number(name: str, attribute: str) -> int | None:
    text = _read(name, attribute)
    return None if text is None else int(text)
