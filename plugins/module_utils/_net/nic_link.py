# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The link of a NIC on the host, and the network that it is on. Pure."""

from __future__ import annotations

import typing as t

from .._audit.network import Network

if t.TYPE_CHECKING:
    from .filter.elements import Rights
    from .vlan import Vlan


def guest_side_mac(mac: str) -> str:
    """Return the MAC of the tap itself, made from the MAC of the guest's NIC.

    With this first byte a bridge does not take over the tap's MAC as its own. libvirt does the same (FE, or FA
    if the guest's MAC begins with FE already).
    """
    return ("fa" if mac.startswith("fe") else "fe") + mac[2:]


class NicLink(t.NamedTuple):
    """The link of a NIC on the host: its name and index, the guest's MAC, and the network that it is or will be on.

    ``ifindex`` is ``None`` if no note says yet that the link was made. If a task is about to put the link on a
    network, ``vm`` is the UUID of its VM.
    """

    ifname: str
    ifindex: int | None
    mac: str
    network: Network
    vm: str | None = None

    @property
    def vlan(self) -> Vlan | None:
        """Return the VLANs that the network names."""
        text = self.network.vlan
        if text is None:
            return None
        # The import is here because few NICs have a VLAN or a filter, and each import takes time.
        from .vlan import parse_text

        return parse_text(text)

    @property
    def rights(self) -> Rights | None:
        """Return what the network's filter lets the guest send, or ``None`` if there is no filter."""
        network, vlan = self.network, self.vlan
        if network.filter is None or self.ifindex is None:
            return None
        from .addresses import parse_text
        from .filter.elements import Rights

        return Rights(
            ifindex=self.ifindex,
            mac=self.mac,
            level="address" if network.filter == "address" else "mac",
            addresses=parse_text(network.addresses or ""),
            trunk=vlan is not None and vlan.is_trunk,
        )

    def on(self, network: Network) -> NicLink:
        """Return the same link on another network."""
        return self._replace(network=network)
