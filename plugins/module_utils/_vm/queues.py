# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells which queues the back ends of a running VM have that no task has noted."""

from __future__ import annotations

import functools
import typing as t

from .._device import Device
from .._net import holdings
from .._proc import Process
from .._qemu.nics import Inventory


class Queues:
    """The queues of back ends that are not noted. The monitor names them, and /proc confirms them.

    The code looks at each descriptor once. A qemu that its guest has taken over can name any number of descriptors, and
    one back end for any number of NICs. ``noted`` are the descriptors of the NICs that are noted.
    """

    def __init__(
        self, process: Process, inventory: Inventory, noted: t.Collection[int]
    ) -> None:
        self._process, self._inventory, self._noted = process, inventory, noted

    def of(self, netdev: str) -> list[Device]:
        """Return the queues of a back end."""
        inventory = self._inventory
        fds = inventory.backends.get(netdev)
        if fds:
            return [self._opened[fd] for fd in self._named[netdev]]
        if fds is None:
            return []
        # qemu opened the device itself. Find it by its name. Without a name it can be any device that
        # no other NIC has.
        ifname, is_vdpa = inventory.ifnames.get(netdev), netdev in inventory.vdpas
        return [
            opened
            for opened in self._others
            if ifname in (None, opened.dev) and opened.is_vdpa is is_vdpa
        ]

    @functools.cached_property
    def _opened(self) -> dict[int, Device]:
        return {
            opened.fileno(): opened
            for opened in holdings.of(self._process)
            if not opened.is_vhost
        }

    @functools.cached_property
    def _named(self) -> dict[str, list[int]]:
        """Return the descriptors that the monitor names for each back end, and that /proc confirms."""
        return {
            netdev: [fd for fd in dict.fromkeys(fds) if fd in self._opened]
            for netdev, fds in self._inventory.backends.items()
        }

    @functools.cached_property
    def _others(self) -> list[Device]:
        """Return the queues that neither the monitor names nor a task has noted."""
        named = {fd for fds in self._named.values() for fd in fds}
        return [
            opened
            for fd, opened in self._opened.items()
            if fd not in named and fd not in self._noted
        ]
