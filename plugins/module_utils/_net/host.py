# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks whether this host can give a VM what a task asks for. It only looks, and opens nothing."""

from __future__ import annotations

import os
import re
import typing as t

from .. import _device
from .._errors import OptionError
from . import holdings, sysfs
from .backends import backend_of
from .interface import Interface
from .nic_link import guest_side_mac

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


def check(
    interfaces: t.Sequence[Interface],
    leftovers: t.Collection[str] = (),
    known: t.Mapping[str, str] | None = None,
) -> None:
    """Refuse interfaces that this host cannot make. Raises :class:`OptionError`.

    ``leftovers`` are links of this VM that the task removes before it makes anything. ``known`` are the guests'
    MACs of the links that this collection made.
    """
    # The code reads the links once for all interfaces, because a host has hundreds of links.
    carriers = _carriers(leftovers) if interfaces else {}
    for interface in interfaces:
        _check(interface, leftovers, carriers, known or {})


def _check(
    interface: Interface,
    leftovers: t.Collection[str],
    carriers: t.Mapping[str, t.Sequence[str]],
    known: t.Mapping[str, str],
) -> None:
    check_source(interface, leftovers)
    if sysfs.exists(interface.ifname) and interface.ifname not in leftovers:
        raise interface.error(
            "ifname",
            f"another link of this host has the name {interface.ifname}; give another ifname, or remove that link if "
            "no VM holds it",
        )
    _check_mac(interface, carriers, known)
    if interface.vhost == "required" and not os.path.exists(_device.VHOST_NET_PATH):
        raise interface.error(
            "vhost",
            f"{_device.VHOST_NET_PATH} does not exist; load the kernel module vhost_net,"
            " or use vhost: auto to go on without it",
        )


def check_source(interface: Interface, leftovers: t.Collection[str] = ()) -> None:
    """Refuse a network that this host cannot put the interface on. Raises :class:`OptionError`."""
    backend = backend_of(interface.type)
    if backend.has_link and not sysfs.exists(interface.source):
        raise interface.error(
            "source", f"there is no link {interface.source} on this host"
        )
    backend.check(interface, leftovers)


def _carriers(leftovers: t.Collection[str]) -> dict[str, list[str]]:
    """Return the names of links by their address."""
    found: dict[str, list[str]] = {}
    for name in sysfs.names():
        address = None if name in leftovers else sysfs.address(name)
        if address is not None:
            found.setdefault(address, []).append(name)
    return found


def _check_mac(
    interface: Interface,
    carriers: t.Mapping[str, t.Sequence[str]],
    known: t.Mapping[str, str],
) -> None:
    """Look for a link of another VM that has the MAC, whoever started that VM."""
    taps = carriers.get(guest_side_mac(interface.mac), ())
    macvtaps = carriers.get(interface.mac, ())
    holders = [
        *(
            name
            for name in taps
            if sysfs.is_tun(name) and _may_serve(name, interface.mac, known)
        ),
        *(name for name in macvtaps if sysfs.macvtap_rdev(name) is not None),
    ]
    if holders:
        raise held_elsewhere(interface, f"the link {holders[0]} of this host has it")


def _may_serve(name: str, mac: str, known: t.Mapping[str, str]) -> bool:
    """Tell whether a tap may belong to a guest's MAC. The tap's own MAC differs from it only in the first byte."""
    if name in known:
        return known[name] == mac
    holding = holdings.holder_of(name, sysfs.ifindex(name))
    if holding is None or holding.process is None:
        return True
    words = " ".join(holding.process.command_line()).lower()
    told = {found for found in _MAC.findall(words) if found[2:] == mac[2:]}
    return not told or mac in told


def held_elsewhere(interface: Interface, where: str) -> OptionError:
    """Return the error for a MAC that another VM of this host has."""
    return interface.error(
        "mac",
        f"another VM has {interface.mac}: {where}. Two VMs with one MAC disturb each other. Detach it there first, or "
        "choose another MAC",
    )
