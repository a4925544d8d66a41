# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts an attached NIC on another network: the link on the host first, and then the carrier that the guest sees."""

from __future__ import annotations

import typing as t

from .._net.backends import backend_of
from .._qemu.carrier import name_of, set_carrier

if t.TYPE_CHECKING:
    from .._audit.network import Network
    from .._net.nic_link import NicLink
    from .note import NicNote
    from .vm import Vm


def put_on(vm: Vm, nic: NicNote, link: NicLink, network: Network) -> None:
    """Put the link of a NIC on a network, and let the guest see whether its NIC has a carrier.

    The guest's side comes after the host's side, because the host's side enforces a quarantine. ``link`` has the
    network that it is on before. Raises :class:`VirtauditError`.
    """
    if network.hwaddr is not None:
        from .._net.link import set_mac

        set_mac(link.ifname, network.hwaddr)
    backend_of(nic.type).update(link._replace(vm=vm.uuid), network)
    show_carrier(vm, nic.mac, link.network, network)


def show_carrier(vm: Vm, mac: str, before: Network, after: Network) -> None:
    """Let the guest see whether its NIC has a carrier, if the two networks differ in that.

    Raises :class:`MonitorError`.
    """
    found = vm.nics.get(mac)
    if found is None or found.front_end is None or before.link == after.link:
        return
    set_carrier(vm.live.monitor, name_of(found.front_end), after.link != "down")
