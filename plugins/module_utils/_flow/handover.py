# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts that a cold start and a hot-plug share: the claim before, and the note and the record after."""

from __future__ import annotations

import typing as t

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._audit.mode import strictest
from .._audit.sent import Sent
from .._device import Device, fds_of
from .._net import sysfs
from .._net.interface import Interface
from .._net.network import networks_of
from .._net.opened import Noted
from .._qemu import ids
from .._qemu.carrier import set_carrier
from .._repair.nic_end import remove_remains
from .._vm import statedir
from .._vm.note import NicNote, Note
from .._vm.vm import Vm
from .plan import asked, refuse_foreign_macs


def claim(vm: Vm, note: Note, interfaces: t.Sequence[Interface]) -> None:
    """Note what the task will open before it opens it.

    With the note the next run finds the work of a task that crashed, and only one of two VMs gets a MAC that both
    want. Raises :class:`OptionError` for the other VM, and :class:`LinkError` if something is left of an earlier NIC with
    the MAC and cannot be removed. ``note`` already says that a task is under way.
    """
    for interface in interfaces:
        earlier = note.interfaces.get(interface.mac)
        if earlier is not None and earlier.phase == "revoked":
            # Only its entry tells what is left of it.
            remove_remains(earlier)
    with statedir.host_locked(vm.target.timeout):
        refuse_foreign_macs(vm, interfaces)
        for interface in interfaces:
            note.interfaces[interface.mac] = NicNote(
                mac=interface.mac,
                type=interface.type,
                source=interface.source,
                mode=interface.mode,
                model=interface.model,
                ifname=interface.ifname,
                queues=interface.queues,
                netdev=ids.netdev_id(interface.mac),
                phase="opening",
                network=interface.network,
            )
        # If any task of the VM writes records, the end of the VM needs records too. This also holds if another
        # task has audit: off.
        note.audit = strictest(note.audit, vm.target.audit)
        vm.state.save(note)


def noting(vm: Vm, note: Note) -> Noted:
    """Return a function that notes the devices of interfaces, by MAC, with their numbers in the process that has them."""

    def note_devices(devices: t.Mapping[str, list[Device]]) -> None:
        for mac, opened in devices.items():
            nic = note.interfaces[mac]
            nic.devices = opened
            # A link keeps its index.
            nic.ifindex = nic.ifindex or sysfs.ifindex(nic.ifname)
        vm.state.save(note)

    return note_devices


def take_carriers(vm: Vm, interfaces: t.Iterable[Interface]) -> None:
    """Take the carrier from the guest's side of each NIC with ``link: down``. Raises :class:`MonitorError`."""
    for interface in interfaces:
        if interface.link == "down":
            set_carrier(vm.live.monitor, ids.device_id(interface.mac), False)


def record_grants(
    vm: Vm,
    note: Note,
    auditor: Auditor,
    messages: Messages,
    reason: str,
    held: t.Mapping[str, list[Device]],
) -> None:
    """Record that qemu holds the devices of interfaces, by MAC, with their fd numbers in qemu.

    Note each recorded interface as held, even if a later record fails. Raises :class:`AuditError`.
    """
    for mac, devices in held.items():
        note.interfaces[mac].devices = devices
    nics = {mac: note.interfaces[mac] for mac in held}
    networks = networks_of({mac: (nic.link, nic.type) for mac, nic in nics.items()})
    records = [
        messages.net_grant(
            reason, mac, fds_of(nic.devices), True, nic.ifname, networks[mac]
        )
        for mac, nic in nics.items()
    ]
    sent: list[Sent] = []
    try:
        sent += map(auditor.send, records)
        auditor.confirm()
    finally:
        for mac, each in zip(held, sent):
            if each.good:
                note.interfaces[mac].phase = "held"
    vm.state.save(note)


def attached(interface: Interface, devices: t.Iterable[Device]) -> dict[str, t.Any]:
    """Return the module's value for an interface that was handed over with its devices."""
    held = [opened.result() for opened in devices]
    return {**asked(interface), "devices": held, "action": "attached"}
