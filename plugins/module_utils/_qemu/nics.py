# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads from qemu's monitor which NICs the VM has: front ends, back ends, PCI ports.

Sources: QMP ``qom-list``, ``qom-get``, ``query-kvm``, and ``info network`` through ``human-monitor-command``.
"""

from __future__ import annotations

import re
import types
import typing as t

from .._errors import QmpError
from .answers import cards_of, entries_of, malformed, value_of
from .ids import is_own_port, mac_of
from .monitor import Monitor

_CONTAINERS = ("/machine/peripheral", "/machine/peripheral-anon")
_PORT_TYPES = ("pcie-root-port", "ioh3420", "xio3130-downstream")
_VDPA = "vhost-vdpa"
# More than any machine has. A qemu that its guest has taken over can list as many as fit into an answer.
_MAX_DEVICES = 10000
_BEHIND = " \\ "
# " \ hostnet0: index=0,type=tap,fd=31", one line per queue
_BACKEND = re.compile(
    r"^(?: \\ )?(?P<id>\S+): index=\d+,type=(?P<type>tap|vhost-vdpa),(?P<rest>.*)$",
    re.MULTILINE,
)
_BACKEND_FD = re.compile(r"\bfd=(\d{1,9})\b")
_BEHIND_NIC = re.compile(
    r"^ \\ (?P<id>\S+): index=\d+,type=(?P<type>[^,\s]+)", re.MULTILINE
)
_WITH_DEVICE = ("tap", _VDPA)
# The line of a tap that qemu opened by itself. It has no fd.
_BACKEND_IFNAME = re.compile(r"\bifname=([^,]+)")


class FrontEnd(t.NamedTuple):
    """The guest's side of a NIC: its QOM path, model, MAC and back end."""

    path: str
    model: str
    mac: str
    netdev: str


class Inventory(t.NamedTuple):
    """Everything that the monitor tells at one moment.

    ``backends`` maps a netdev's id to the fd numbers of its queues. It is stale after a netdev_del whose front
    end still exists, so the code checks every fd in /proc before it relies on it. A back end that qemu opened
    by itself has no numbers there, and its tap's name is in ``ifnames``, if qemu tells the name. ``vdpas`` are
    the back ends over vdpa devices, whose numbers qemu never tells. ``others`` are the back ends of a NIC that need no
    network device of this host, such as qemu's user-mode network. ``ports`` are the ids of the PCIe ports,
    and ``has_ports`` tells whether the machine hot-plugs into such ports at all. ``virt`` is ``kvm`` or ``qemu`` (TCG),
    the words of the records.
    """

    front_ends: list[FrontEnd]
    backends: dict[str, list[int]]
    ports: list[str]
    has_ports: bool
    ifnames: t.Mapping[str, str] = types.MappingProxyType({})
    vdpas: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    virt: str = "qemu"


def take_inventory(monitor: Monitor) -> Inventory:
    """Ask the monitor for every NIC and every port."""
    # In one go, so that the task waits for qemu only once.
    *listings, network, kvm = monitor.try_all(
        [
            *(("qom-list", {"path": path}) for path in _CONTAINERS),
            ("human-monitor-command", {"command-line": "info network"}),
            ("query-kvm", {}),
        ]
    )
    for answer in (network, kvm):
        if isinstance(answer, QmpError):
            raise answer
    children: list[tuple[str, str, str]] = []
    for container, listing in zip(_CONTAINERS, listings):
        if isinstance(listing, QmpError):
            continue
        for name, link in entries_of(listing):
            kind = _child_type(link)
            if kind is not None:
                children.append((container, name, kind))
        if len(children) > _MAX_DEVICES:
            raise malformed("qom-list", listing)
    ports = [
        name
        for container, name, kind in children
        if kind in _PORT_TYPES and container == _CONTAINERS[0]
    ]
    text = str(network).replace("\r", "")
    backends, ifnames = _backends(text)
    others = [child for child in children if child[2] not in _PORT_TYPES]
    return Inventory(
        front_ends=_front_ends(monitor, others, _peers(text)),
        backends=backends,
        ports=ports,
        has_ports=any(kind in _PORT_TYPES for _container, _name, kind in children)
        or _is_pcie(monitor),
        ifnames=ifnames,
        vdpas=_vdpas(text),
        others=_others(text),
        virt="kvm" if value_of("query-kvm", kvm, "enabled", bool) else "qemu",
    )


def has_id(front_end: FrontEnd) -> bool:
    """Tell whether the program that made a NIC gave its device an id."""
    return not front_end.path.startswith(f"{_CONTAINERS[1]}/")


def free_ports(
    monitor: Monitor, ports: t.Sequence[str], enough: int | None = None
) -> list[str]:
    """Return the ports without a device, or the first ``enough`` of them. Only a new NIC needs this.

    It takes one command for each port, and one more for a port that another program made. 19 ports take 12 ms.
    """
    free: list[str] = []
    step = enough or len(ports)
    for first in range(0, len(ports), max(1, step)):
        asked = ports[first : first + step]
        # query-pci shows the bus behind a port only after firmware has numbered it. QOM always shows it.
        listings = monitor.try_all(
            [
                ("qom-list", {"path": f"/machine/peripheral/{port}/{port}"})
                for port in asked
            ]
        )
        empty = [port for port, found in zip(asked, listings) if _is_free(found)]
        # A port with hotplug=off accepts no device. Older kinds of ports have no such property.
        foreign = [port for port in empty if not is_own_port(port)]
        takes = monitor.try_all([_takes_devices(port) for port in foreign])
        closed = {port for port, value in zip(foreign, takes) if value is False}
        free += [port for port in empty if port not in closed]
        if enough is not None and len(free) >= enough:
            break
    return free


def _takes_devices(port: str) -> tuple[str, dict[str, t.Any]]:
    path = f"/machine/peripheral/{port}"
    return "qom-get", {"path": path, "property": "hotplug"}


def _is_free(listing: t.Any) -> bool:
    return not isinstance(listing, QmpError) and cards_of(listing) == 0


def _child_type(kind: str) -> str | None:
    return kind[len("child<") : -1] if kind.startswith("child<") else None


def _front_ends(
    monitor: Monitor,
    children: t.Sequence[tuple[str, str, str]],
    peers: t.Mapping[str, str],
) -> list[FrontEnd]:
    """Return the NICs among a machine's devices.

    The id of one of our NICs tells its MAC, and ``peers`` tells its back end. For NICs that somebody else made,
    the code asks qemu, with two commands for each device.
    """
    found: dict[str, FrontEnd] = {}
    asked = []
    for container, name, kind in children:
        path = f"{container}/{name}"
        mac, netdev = mac_of(path), peers.get(name)
        if mac is not None and netdev is not None:
            found[path] = FrontEnd(path, kind, mac, netdev)
        else:
            asked.append((path, kind))
    commands = [
        ("qom-get", {"path": path, "property": prop})
        for path, _kind in asked
        for prop in ("mac", "netdev")
    ]
    answers = monitor.try_all(commands) if commands else []
    for index, (path, kind) in enumerate(asked):
        said, back_end = answers[2 * index : 2 * index + 2]
        if isinstance(said, QmpError) or isinstance(back_end, QmpError):
            continue
        found[path] = FrontEnd(path, kind, str(said).lower(), str(back_end))
    # In the order of the machine's devices.
    paths = [f"{container}/{name}" for container, name, _kind in children]
    return [found[path] for path in paths if path in found]


def _peers(text: str) -> dict[str, str]:
    """Return the back end of each front end that ``info network`` names, by their ids."""
    peers: dict[str, str] = {}
    front_end = None
    for line in text.splitlines():
        if not line.startswith(_BEHIND):
            front_end = line.partition(":")[0] if ",type=nic," in line else None
        elif front_end is not None:
            peers.setdefault(front_end, line[len(_BEHIND) :].partition(":")[0])
    return peers


def _backends(text: str) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Return the fd numbers of each back end that ``info network`` names, and the taps of those that qemu opened by itself."""
    backends: dict[str, list[int]] = {}
    ifnames: dict[str, str] = {}
    for match in _BACKEND.finditer(text):
        fds = [int(number) for number in _BACKEND_FD.findall(match["rest"])]
        backends.setdefault(match["id"], []).extend(fds)
        ifname = _BACKEND_IFNAME.search(match["rest"])
        if ifname:
            ifnames[match["id"]] = ifname.group(1)
    return backends, ifnames


def _vdpas(text: str) -> frozenset[str]:
    """Return the back ends over vdpa devices that ``info network`` names."""
    return frozenset(
        match["id"] for match in _BACKEND.finditer(text) if match["type"] == _VDPA
    )


def _others(text: str) -> frozenset[str]:
    """Return the back ends behind NICs that need no network device of this host."""
    return frozenset(
        match["id"]
        for match in _BEHIND_NIC.finditer(text)
        if match["type"] not in _WITH_DEVICE
    )


def _is_pcie(monitor: Monitor) -> bool:
    kind = str(monitor.execute("qom-get", {"path": "/machine", "property": "type"}))
    return not kind.startswith("pc-i440fx")
