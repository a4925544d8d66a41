# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts an attached NIC on another network: the link on the host first, and then the carrier that the guest sees."""

from __future__ import annotations

import typing as t

from .._errors import LinkError, VirtauditError
from .._net import sysfs
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
    _put_link_on(vm, nic, link, network)
    show_carrier(vm, nic.mac, link.network, network)


def put_back(vm: Vm, nic: NicNote, link: NicLink, network: Network) -> list[str]:
    """Put a NIC back on its former network. Return in words what failed.

    If the host's side fails, the guest's side is put back nevertheless. Otherwise a NIC whose release from quarantine
    failed half way would have both sides open.
    """
    failed = []
    try:
        _put_link_on(vm, nic, link, network)
    except VirtauditError as exc:
        failed.append(f"its link could not be put back: {exc}")
    return failed + try_carrier(vm, nic.mac, link.network, network)


def try_carrier(vm: Vm, mac: str, before: Network, after: Network) -> list[str]:
    """Let the guest see its carrier, as :func:`show_carrier` does. Return in words what failed."""
    try:
        show_carrier(vm, mac, before, after)
    except VirtauditError as exc:
        return [f"the carrier that its guest sees could not be set: {exc}"]
    return []


def show_carrier(vm: Vm, mac: str, before: Network, after: Network) -> None:
    """Let the guest see whether its NIC has a carrier, if the two networks differ in that.

    Raises :class:`MonitorError`.
    """
    found = vm.nics.get(mac)
    if found is None or found.front_end is None or before.link == after.link:
        return
    set_carrier(vm.live.monitor, name_of(found.front_end), after.link != "down")


def _put_link_on(vm: Vm, nic: NicNote, link: NicLink, network: Network) -> None:
    if not sysfs.is_same(link.ifname, link.ifindex):
        vm.live.require_alive(link.ifname, nic.mac)
        raise LinkError(
            f"the link {link.ifname} of {nic.mac} is not in this network namespace any more. It was removed or moved, "
            "and a link that has its name now is another one"
        )
    if network.hwaddr is not None:
        from .._net.link import set_mac

        set_mac(link.ifname, network.hwaddr)
    backend_of(nic.type).update(link._replace(vm=vm.uuid), network)
