# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells which NICs a VM has now. It combines the answers of qemu's monitor and /proc, with the help of the note."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from .._audit.network import Network
from .._device import Device, fds_of
from .._net import holdings, sysfs
from .._net.backends import backend_of, kind_of
from .._net.interface import sits_on_pci
from .._net.mac import is_mac
from .._net.nic_link import NicLink
from .._proc import Process
from .._qemu.ids import mac_of
from .._qemu.nics import FrontEnd, Inventory
from .note import NicNote, Note
from .queues import Queues


@dataclasses.dataclass
class Nic:
    """One NIC of a running VM. ``front_end`` is ``None`` if the guest has released it.

    ``devices`` are those that qemu really holds, and none after a revocation. ``needs_none`` tells that its back end
    needs no network device of this host, such as qemu's user-mode network. The code asks the kernel once for
    the NIC's source and network. The object shows the NIC at the moment of that look, and :meth:`Vm.refresh`
    looks again.
    """

    mac: str
    front_end: FrontEnd | None
    netdev: str
    devices: list[Device]
    note: NicNote | None
    needs_none: bool = False

    @property
    def is_whole(self) -> bool:
        """Tell whether the NIC has both its sides."""
        return self.front_end is not None and bool(self.devices)

    @property
    def is_closed(self) -> bool:
        """Tell whether only the guest's side is left, for example if the guest kept its NIC after a revocation."""
        if self.front_end is None or self.devices:
            return False
        # A back end without a device of this host is only closed if a task has closed it.
        revoked = self.note is not None and self.note.phase == "revoked"
        return revoked or not self.needs_none

    @functools.cached_property
    def has_place(self) -> bool:
        """Tell whether its link exists. For a kind of NIC without a link, tell whether its device exists."""
        if self.devices and not backend_of(self.type).has_link:
            return True
        name, index = self.ifname, self.note.ifindex if self.note else None
        return name is not None and sysfs.exists(name) and sysfs.is_same(name, index)

    @property
    def is_pci(self) -> bool:
        """Tell whether the guest has the NIC on PCI."""
        return self.front_end is not None and sits_on_pci(self.front_end.model)

    @property
    def ifname(self) -> str | None:
        """Return the tap, macvtap or vdpa node behind the NIC."""
        return next(
            (opened.dev for opened in self._queue_devices()),
            self.note.ifname if self.note else None,
        )

    @property
    def queues(self) -> int:
        """Return the number of queues."""
        return len(self._queue_devices())

    @property
    def type(self) -> str:
        """Return the type of the interface in the words of the option ``type``."""
        noted = self.note.type if self.note else None
        return kind_of(self.devices[0], noted) if self.devices else noted or "bridge"

    @functools.cached_property
    def source(self) -> str | None:
        """Ask the kernel for the bridge or the lower device, and return it."""
        if self.ifname is None or not self.has_place:
            return self.note.source if self.note else None
        return backend_of(self.type).source_of(self.ifname)

    @functools.cached_property
    def network(self) -> Network:
        """Ask the kernel for the network that the NIC is on, and return it. Do not look at a NIC that nobody noted."""
        noted = self.note.link.network if self.note else Network()
        if self.ifname is None or not self.has_place:
            return noted
        index = sysfs.ifindex(self.ifname)
        link = NicLink(self.ifname, index, self.mac, noted)
        found = backend_of(self.type).observe(link)
        # The program that made the link chose its MAC.
        made = self.note is not None and self.note.made
        return found if made else dataclasses.replace(found, hwaddr=None)

    @property
    def vhost(self) -> bool | None:
        """Tell whether vhost-net serves the NIC, or return ``None`` if that is unknown, as for a NIC that this
        collection did not attach.
        """
        if any(opened.is_vhost for opened in self.devices):
            return True
        return False if self.note else None

    @property
    def mode(self) -> str | None:
        """Return a macvtap's mode."""
        if self.ifname is None or not self.has_place:
            return None
        return backend_of(self.type).mode_of(self.ifname)

    def as_note(self) -> NicNote:
        """Return the entry of the VM's note for a NIC that this collection did not attach."""
        return NicNote(
            mac=self.mac,
            type=self.type,
            source=self.source or "",
            mode=None,
            model=self.front_end.model if self.front_end else "",
            ifname=self.ifname or "",
            ifindex=sysfs.ifindex(self.ifname) if self.ifname else None,
            queues=self.queues,
            netdev=self.netdev,
            phase="held" if self.devices else "revoked",
            made=False,
            devices=self.devices,
        )

    def noted_in(self, note: Note) -> NicNote:
        """Return the NIC's entry of the VM's note. Make one for a NIC that this collection did not attach."""
        if self.mac not in note.interfaces:
            # Only a new entry needs the answer of a switch, which may not answer.
            note.interfaces[self.mac] = self.as_note()
        return note.interfaces[self.mac]

    def result(self) -> dict[str, t.Any]:
        """Return the module's value for the NIC, without ``action``."""
        return {
            "mac": self.mac,
            "type": self.type,
            "source": self.source,
            "ifname": self.ifname,
            "queues": self.queues,
            "network": self.network.result(),
            "devices": [opened.result() for opened in self.devices],
        }

    def _queue_devices(self) -> list[Device]:
        return [opened for opened in self.devices if not opened.is_vhost]


def observe_nics(
    inventory: Inventory, process: Process, note: Note | None
) -> dict[str, Nic]:
    """Return every NIC of a VM by MAC, including back ends without a front end.

    The guest can rewrite the MAC of some models. So the id identifies a NIC of this collection, and the id of its back
    end identifies any other NIC that is noted. If two NICs have the same MAC, the first one counts. The
    result leaves out a NIC without a MAC, because options and records cannot name it. See :func:`nameless`.
    """
    notes = dict(note.interfaces) if note else {}
    by_netdev = {known.netdev: mac for mac, known in notes.items()}
    found: dict[str, Nic] = {}
    noted = {fd for nic in notes.values() for fd in fds_of(nic.devices)}
    queues = Queues(process, inventory, noted)
    named = {
        front_end.path: mac_of(front_end.path) or by_netdev.get(front_end.netdev)
        for front_end in inventory.front_ends
    }
    # The NICs that are known for sure come first.
    for front_end in sorted(
        inventory.front_ends, key=lambda each: named[each.path] is None
    ):
        mac = named[front_end.path] or front_end.mac
        if mac in found or not is_mac(mac):
            continue
        known = notes.get(mac)
        devices = _held(process, known, queues, front_end.netdev)
        netdev = front_end.netdev
        found[mac] = Nic(
            mac, front_end, netdev, devices, known, netdev in inventory.others
        )
    for mac, known in notes.items():
        if mac not in found:
            netdev = known.netdev
            devices = _held(process, known, queues, netdev)
            if devices or netdev in inventory.backends:
                found[mac] = Nic(mac, None, netdev, devices, known)
    return found


def nameless(
    name: str, process: Process, inventory: Inventory, nics: t.Collection[Nic]
) -> list[str]:
    """Return a sentence for each NIC that no task can name, because qemu reports no MAC for it."""
    known = {nic.front_end.path for nic in nics if nic.front_end is not None}
    return [
        f"qemu (pid {process.pid}) of VM {name} reports {front_end.mac[:100]!r} as the MAC of {front_end.path}, which is"
        " not a MAC address. The task does nothing to this NIC, and no record names it. Find out whether somebody has "
        "changed this qemu. stop_vm: destroy ends the VM with all its NICs"
        for front_end in inventory.front_ends
        if front_end.path not in known and not is_mac(front_end.mac)
    ]


def _held(
    process: Process, known: NicNote | None, queues: Queues, netdev: str
) -> list[Device]:
    if known is not None and known.phase != "opening":
        now = [_as_now(process, opened, known.ifindex) for opened in known.devices]
        held = [opened for opened in now if opened is not None]
        if held or known.phase == "revoked":
            return held
        # As long as somebody else holds a device, or qemu holds it at another descriptor, it does
        # not count as given up.
        link_held = holdings.holder_of(known.ifname, known.ifindex, process)
        if link_held is None:
            return []
        # Somebody may have renamed the link.
        name = link_held.ifname
        return [dataclasses.replace(each, dev=name) for each in known.devices]
    # The NIC is not noted yet.
    return queues.of(netdev)


def _as_now(process: Process, opened: Device, ifindex: int | None) -> Device | None:
    """Return a noted device with its present name, or ``None`` if nobody holds it any more."""
    if holdings.still_at(process, opened):
        return opened
    found = None if opened.fd is None else holdings.at(process, opened.fd)
    if ifindex is None or found is None or found.dev is None:
        return None
    same = found.rdev == opened.rdev and sysfs.is_same(found.dev, ifindex)
    return dataclasses.replace(opened, dev=found.dev) if same else None


def strange_devices(
    name: str,
    process: Process,
    nics: t.Iterable[Nic],
    cut_off: t.Collection[NicNote] = (),
) -> list[str]:
    """Return in words which network devices one of our VMs holds that no task gave it.

    ``cut_off`` are interrupted attaches. The run finishes them or takes them back before it asks this. Check mode
    only foresees that.
    """
    given = [opened for nic in nics if nic.note is not None for opened in nic.devices]
    return [
        f"VM {name} (qemu, pid {process.pid}) holds {holdings.words(found)}, which no task gave it and which is not on "
        "record. Find out who started or changed this VM. vm_net_audit_info with verify: true lists it"
        for found in holdings.beside(process, given)
        if not any(_may_be_of(nic, found) for nic in cut_off)
    ]


def _may_be_of(nic: NicNote, opened: Device) -> bool:
    """Tell whether a device can be that of an interrupted attach."""
    with_vhost = any(each.is_vhost for each in nic.devices)
    return (opened.is_vhost and with_vhost) or opened.dev == nic.ifname
