# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens a new tap, for all back ends whose links are taps."""

from __future__ import annotations

from ..._device import TUN_PATH, Device
from .. import device
from ..interface import Interface
from .base import Nodes


def open_tap(interface: Interface, nodes: Nodes) -> list[Device]:
    """Open /dev/net/tun for each queue of a new tap, and leave the tap down.

    Raises :class:`DeviceError` or :class:`AuditError`.
    """

    def setup(opened: Device, first: bool) -> None:
        device.become_tap(opened, interface.ifname, interface.queues, first=first)

    setups = [lambda opened: setup(opened, True)]
    setups += [lambda opened: setup(opened, False)] * (interface.queues - 1)
    return [nodes.open_node(interface, TUN_PATH, each) for each in setups]
