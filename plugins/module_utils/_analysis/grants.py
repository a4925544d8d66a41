# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM holds the devices of one interface. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from .._device import Device
from .._log.parse import Logged
from .._time import iso

# source: the bridge, switch or lower device.
_NETWORK = ("source", "vlan", "filter", "isolated", "link")


@dataclasses.dataclass
class Grant:
    """A VM holds the devices of one interface since ``since`` (seconds since the epoch).

    ``exact``: each device is on record with its descriptor. ``live`` is ``None`` until it was
    looked at. ``run`` counts the VM's starts. ``network`` is where its record says what it is on:
    source, vlan, filter, isolated and link, ``None`` where one is not.
    """

    node: str | None
    vm: str | None
    uuid: str
    mac: str
    since: float
    auid: int | None
    ses: int | None
    exe: str | None
    event: str
    devices: list[Device]
    exact: bool
    run: int
    live: bool | None = None
    network: dict[str, str | None] | None = None
    ticket: str | None = None
    ifname: str | None = None
    # Since when it is on its network, and by which record, where that changed.
    placed: tuple[float, str] | None = None

    def moved(self, logged: Logged, changed: dict[str, str | None]) -> Grant:
        """Return it as it is since a record that it is on another network."""
        network = {**dict.fromkeys(_NETWORK), **(self.network or {}), **changed}
        return dataclasses.replace(
            self, network=network, placed=(logged.time, logged.event)
        )

    def result(self) -> dict[str, t.Any]:
        """Return the module's value."""
        return {
            "node": self.node,
            "vm": self.vm,
            "uuid": self.uuid,
            "mac": self.mac,
            "since": iso(self.since),
            "auid": self.auid,
            "ses": self.ses,
            "exe": self.exe,
            "event": self.event,
            "devices": [device.result() for device in self.devices],
            "live": self.live,
            "network": self.network,
            "ticket": self.ticket,
        }


def network_of(
    fields: t.Mapping[str, str | None], prefix: str = ""
) -> dict[str, str | None]:
    """Return what a record says of the network that a NIC is on; nothing of one that does not say it."""
    found = {
        name: fields[f"{prefix}{name}"]
        for name in _NETWORK
        if f"{prefix}{name}" in fields
    }
    return {**dict.fromkeys(_NETWORK), **found} if found and not prefix else found


@dataclasses.dataclass
class Opened:
    """An open on record that no hand-over has claimed yet; ``failed``: its hand-over did not succeed."""

    logged: Logged
    device: Device
    failed: bool = False


def claim(
    waiting: list[Opened], fds: list[int | None]
) -> tuple[list[Device], list[Opened]]:
    """Return which of the opens a hand-over took, with their numbers in qemu, and the others.

    With the numbers it is as many of the last opens. libvirt has no numbers and one record for all
    queues, so there it is the last tap and the last vhost-net.
    """
    if fds:
        split = max(0, len(waiting) - len(fds))
        mine = [opened.device for opened in waiting[split:]]
        # The logs may begin after the opens.
        lost = [Device(None, None, None, None, None)] * (len(fds) - len(mine))
        devices = [
            dataclasses.replace(device, fd=fd)
            for device, fd in zip([*lost, *mine], fds)
        ]
        return devices, waiting[:split]
    last = {opened.device.is_vhost: opened for opened in waiting}
    taken = [opened for opened in waiting if opened is last[opened.device.is_vhost]]
    left = [opened for opened in waiting if opened is not last[opened.device.is_vhost]]
    return [opened.device for opened in taken], left
