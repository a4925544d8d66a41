# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps that all back ends with taps share."""

from __future__ import annotations

from ..._device import TUN_PATH, Device
from .. import persistent
from ..interface import Interface
from ..nic_link import NicLink
from .base import Backend, Nodes


class TapBackend(Backend):
    """A back end whose links are taps. The kernel removes a tap with its last descriptor, unless the tap is persistent."""

    def open(self, interface: Interface, nodes: Nodes) -> list[Device]:
        """Open /dev/net/tun for each queue of a new tap, and leave the tap down.

        Raises :class:`DeviceError` or :class:`AuditError`.
        """
        from .. import device

        def setup(opened: Device, first: bool) -> None:
            device.become_tap(opened, interface.ifname, interface.queues, first=first)

        setups = [lambda opened: setup(opened, True)]
        setups += [lambda opened: setup(opened, False)] * (interface.queues - 1)
        return [nodes.open_node(interface, TUN_PATH, each) for each in setups]

    def remains(self, link: NicLink) -> bool:
        """Tell whether the tap is persistent and exists, or whether its filter exists without it."""
        return persistent.find(link.ifindex) is not None or super().remains(link)

    def remove(self, link: NicLink) -> None:
        """Remove a persistent tap, and then the filter. Raises :class:`LinkError`."""
        persistent.remove(link.ifindex)
        super().remove(link)
