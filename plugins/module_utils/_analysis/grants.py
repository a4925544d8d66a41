# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM holds the devices of one interface. Pure."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from .._audit.network import value_of
from .._device import Device
from .._log.parse import Logged
from .._time import iso

# source: the bridge, switch or lower device.
_NETWORK = ("source", "vlan", "filter", "isolated", "link")
# The longest time between two changes of one NIC by one task.
_AT_ONCE_SECONDS = 2.0


class Move(t.NamedTuple):
    """The time since which a NIC is on its network (seconds since the epoch), the record that says it, and who did it."""

    time: float
    event: str
    auid: int | None
    pid: int

    def goes_on(self, logged: Logged) -> bool:
        """Tell whether a record belongs to the same change. A task writes one record for each value."""
        late = logged.time - self.time
        return self.pid == logged.pid and 0 <= late <= _AT_ONCE_SECONDS


@dataclasses.dataclass
class Grant:
    """A VM holds the devices of one interface since ``since`` (seconds since the epoch).

    ``exact`` tells that each device is on record with its descriptor. ``live`` is ``None`` until somebody has
    looked. ``run`` counts the VM's starts. ``network`` is the network by the records: source, vlan, filter,
    isolated and link, with ``None`` for each missing value. ``move`` is the last update of the network.
    ``ticket`` is the last ticket that the hand-over or an update had.
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
    move: Move | None = None

    def moved(self, logged: Logged, changed: dict[str, str | None]) -> Grant:
        """Return the grant as it is after a record that puts the NIC on another network."""
        move = self.move
        if move is None or not move.goes_on(logged):
            move = Move(logged.time, logged.event, logged.auid, logged.pid)
        return dataclasses.replace(
            self,
            network=whole_network(self.network, changed),
            ticket=logged.record.fields.get("ticket") or self.ticket,
            move=move,
        )

    @property
    def placed(self) -> Move:
        """Return since when the NIC is on its network, by which record, and who put it there."""
        return self.move or Move(self.since, self.event, self.auid, 0)

    @property
    def link(self) -> str | None:
        """Return the tap or macvtap, or ``None`` if libvirt opened it."""
        return next((each.dev for each in self.devices if each.dev), self.ifname)

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
    """Return what the fields of a record say about the network of a NIC. A record of libvirt says nothing about it.

    The fields of an update record have the ``prefix`` ``old-`` or ``new-``.
    """
    return {
        name: value_of(name, fields[field])
        for name, field in _prefixed(prefix)
        if field in fields
    }


@functools.cache
def _prefixed(prefix: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, f"{prefix}{name}") for name in _NETWORK)


def whole_network(
    *parts: t.Mapping[str, str | None] | None,
) -> dict[str, str | None] | None:
    """Return the network that records describe in parts, of which later ones replace earlier ones, or ``None``
    if they say nothing.
    """
    known = {name: value for part in parts for name, value in (part or {}).items()}
    return {**dict.fromkeys(_NETWORK), **known} if known else None


@dataclasses.dataclass
class Opened:
    """An open on record that no hand-over has claimed yet. ``failed`` tells that its hand-over failed."""

    logged: Logged
    device: Device
    failed: bool = False


def claim(
    waiting: list[Opened], fds: list[int | None]
) -> tuple[list[Device], list[Opened]]:
    """Return the opens that a hand-over took, with their numbers in qemu, and the other opens.

    If the record has the numbers, the hand-over took as many of the last opens. libvirt writes no numbers, and
    one record for all queues. So with libvirt the hand-over took the last tap and the last vhost-net that are not from a
    failed hand-over. libvirt closes what it opened for a failed hand-over.
    """
    if fds:
        split = max(0, len(waiting) - len(fds))
        mine = [opened.device for opened in waiting[split:]]
        # The logs may begin after the devices were opened.
        lost = [Device(None, None, None, None, None)] * (len(fds) - len(mine))
        devices = [
            dataclasses.replace(device, fd=fd)
            for device, fd in zip([*lost, *mine], fds)
        ]
        return devices, waiting[:split]
    last = {each.device.is_vhost: each for each in waiting if not each.failed}
    taken = [each for each in waiting if each is last.get(each.device.is_vhost)]
    left = [each for each in waiting if each is not last.get(each.device.is_vhost)]
    return [opened.device for opened in taken], left
