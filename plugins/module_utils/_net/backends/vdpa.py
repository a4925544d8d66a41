# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vdpa device. qemu drives it through its node, and it has no link on the host."""

from __future__ import annotations

import dataclasses
import typing as t

from ..._audit.network import Network
from ..._device import Device, format_number
from ..._errors import DeviceError, LinkError
from .. import holdings, vdpa
from ..interface import Interface
from ..nic_link import NicLink
from .base import Backend, Nodes


class Vdpa(Backend):
    """A vdpa device. Its node's name, ``vhost-vdpa-<N>``, takes the place of the name of a link.

    The kernel lets only one process open the device, and keeps the device while a descriptor is open.
    """

    kind = "vdpa"
    family = "netdev"
    left = "nothing"
    moves = False
    has_link = False

    def check(self, interface: Interface, leftovers: t.Collection[str]) -> None:
        """Require a device that nobody holds. Raises :class:`OptionError`."""
        if interface.ifname in leftovers:
            return
        holding = holdings.holder_of(interface.ifname, None)
        if holding is not None:
            raise interface.error(
                "source",
                f"the vdpa device {interface.source} is in use: {holding}; a vdpa device serves one VM. Detach it there"
                " first, or name another one",
            )

    def complaints(self, source: str, ifname: str | None) -> list[str]:
        """Return no warning, because the host does not see what the device is connected to."""
        return []

    def open(self, interface: Interface, nodes: Nodes) -> list[Device]:
        """Open the device's node."""
        found = vdpa.find(interface.source)
        if found is None or found.node != interface.ifname:
            raise DeviceError(
                f"the vdpa device {interface.source} of {interface.mac} is gone, or has another node than"
                f" {interface.ifname} now"
            )

        def setup(opened: Device) -> None:
            if opened.rdev != format_number(found.number):
                raise DeviceError(
                    f"{opened.path} is not the node of the vdpa device {found.name}: it has the number {opened.rdev},"
                    f" and the device has {found.number}"
                )
            opened.dev = found.node

        return [nodes.open_node(interface, found.path, setup)]

    def prepare(self, links: t.Sequence[NicLink]) -> t.Iterator[LinkError | None]:
        """Do nothing, because the devices are on their networks already."""
        yield from [None] * len(links)

    def observe_all(self, links: t.Sequence[NicLink]) -> list[Network]:
        """Return networks with the devices' names as their sources. The host sees nothing else of these networks."""
        return [
            dataclasses.replace(each.network, source=self.source_of(each.ifname))
            for each in links
        ]

    def update(self, link: NicLink, network: Network) -> None:
        """Refuse the change, because a NIC cannot move to another vdpa device. Raises :class:`LinkError`."""
        raise LinkError(
            f"{link.mac} cannot move from one vdpa device to another; detach the NIC and attach it there (on_mismatch:"
            " replace)"
        )

    def source_of(self, ifname: str) -> str | None:
        """Return the name of the vdpa device that a node belongs to."""
        found = vdpa.find(f"/dev/{ifname}")
        return None if found is None else found.name

    def _connect(self, link: NicLink) -> None:
        """Do nothing, because the device is connected already."""

    def _set_port(self, link: NicLink, before: NicLink | None) -> None:
        """Do nothing, because the device has no port on the host."""
