# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at everything that holds network devices on this host: every process, whoever started it, and every tap and macvtap.

Sources: ``proc(5)``; ``/sys/class/net``, of this network namespace only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .._analysis.place import Place
from .._audit import namespaces
from .._device import Device
from .._errors import LinkError
from .._net import holdings, ovs_port, ovsdb, sysfs
from .._net.filter import table
from .._net.filter.ruleset import Family
from .._proc import Process, all_processes
from .._qemu.process import is_qemu, told
from .._vm import statedir

# The master of each port of Open vSwitch that uses the kernel's datapath.
_SWITCH = "ovs-system"


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process that has network devices open. ``name`` and ``uuid`` are those with which a qemu was started.

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
    """The host at one moment.

    ``links`` are its taps and macvtaps with their MACs, and ``places`` tells where they are. ``is_of_host`` is false
    if they may be the links of another network namespace than the host's.
    """

    holders: dict[Process, Holder]
    links: dict[str, str | None]
    places: dict[str, Place] = dataclasses.field(default_factory=dict)
    is_of_host: bool = True

    def qemus(self) -> list[Holder]:
        """Return the VMs."""
        return [holder for holder in self.holders.values() if holder.is_qemu]

    def held(self) -> dict[str, list[Holder]]:
        """Return who holds a link, by its name, VMs first."""
        found: dict[str, dict[Process, Holder]] = {}
        for holder in sorted(self.holders.values(), key=lambda each: not each.is_qemu):
            for device in holder.devices:
                if device.dev is not None:
                    found.setdefault(device.dev, {})[holder.process] = holder
        return {name: [*holders.values()] for name, holders in found.items()}


def look() -> Look:
    """Look at every process and every link."""
    # Look at the links first. So a tap that somebody makes meanwhile has a holder, and does not
    # count as a leak.
    links = {name: sysfs.address(name) for name in sysfs.names() if _is_tap(name)}
    places = _places_of(links)
    vms = {note.process: note for note in statedir.other_notes("")}
    holders = {}
    for process in all_processes():
        note = vms.get(process)
        # A qemu that holds nothing counts, too, because the trail may say that it holds something.
        runs_vm = note is not None or is_qemu(process)
        devices = tuple(_told_apart(process, links, runs_vm))
        if not devices and not runs_vm:
            continue
        name, uuid = told(process.command_line())
        if note is not None:
            name, uuid = note.name, note.uuid
        exe = process.exe() or "?"
        holders[process] = Holder(
            process, process.started(), exe, runs_vm, name, uuid, devices
        )
    return Look(holders, links, places, namespaces.foreign() is None)


def _told_apart(
    process: Process, links: t.Container[str], runs_vm: bool
) -> t.Iterator[Device]:
    """Yield the devices that a process holds. One whose link only has the name of one of ``links`` gets another name.

    A VM may also hide devices in a thread.
    """
    for opened in holdings.of(process) + (holdings.hidden(process) if runs_vm else []):
        name = opened.dev
        if (
            name is None
            or name not in links
            or holdings.is_behind(process, opened, name)
        ):
            yield opened
        else:
            yield dataclasses.replace(opened, dev=f"{name} (another link)")


def _places_of(names: t.Iterable[str]) -> dict[str, Place]:
    """Return the places of links, and whether this collection filters what their guests send."""
    switched = _switched()
    sources: dict[Family, dict[str, str | None]] = {}
    places = {}
    for name in names:
        is_tap = sysfs.is_tap(name)
        source = sysfs.master(name) if is_tap else sysfs.lower(name)
        family: Family = "bridge" if is_tap else "netdev"
        if is_tap and source in (None, _SWITCH):
            if switched is None and (source or ovsdb.switch_runs()):
                # The database does not answer, so nobody knows where the port is.
                places[name] = Place(None, is_tap, is_known=False)
                continue
            source = (switched or {}).get(name)
            family = "bridge" if source is None else "ingress"
        sources.setdefault(family, {})[name] = source
    for family, found in sources.items():
        links = {name: index for name in found if (index := sysfs.ifindex(name))}
        for name, filtered in table.filtered(links, family).items():
            places[name] = Place(found[name], family != "netdev", filtered)
    return places


def _switched() -> dict[str, str] | None:
    """Return the bridge of each port of Open vSwitch, or ``None`` if its database does not answer."""
    with contextlib.suppress(LinkError):
        return ovs_port.bridge_of_ports()
    return None


def _is_tap(name: str) -> bool:
    return sysfs.is_tap(name) or sysfs.macvtap_rdev(name) is not None
