# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tap that is a port of a Linux bridge."""

from __future__ import annotations

import dataclasses
import typing as t

from ..._audit.network import Network, shorten
from ..._errors import LinkError
from .. import sysfs
from ..interface import Interface
from ..nic_link import NicLink
from .tap import TapBackend

if t.TYPE_CHECKING:
    from ..port import PortFlags

# Each import takes time. So this file imports the modules that make or change a tap, and those that set VLANs and
# flags, only where it uses them.


class Bridge(TapBackend):
    """A tap that is a port of a Linux bridge."""

    kind = "bridge"
    family = "bridge"
    left = "the filter"
    moves = True

    def check(self, interface: Interface, leftovers: object) -> None:
        """Require a bridge, with VLAN filtering if the task asks for VLANs. Raises :class:`OptionError`."""
        bridge = interface.source
        if not sysfs.is_bridge(bridge):
            raise interface.error(
                "source",
                f"{bridge} is not a bridge; use type: direct for a macvtap on a network device",
            )
        if interface.vlan is not None and not sysfs.filters_vlans(bridge):
            raise interface.error(
                "vlan",
                f"bridge {bridge} does not keep VLANs apart, so every VM on it would get the frames of this VM; turn "
                f"its VLAN filtering on ('ip link set {bridge} type bridge vlan_filtering 1'; see first that its "
                "uplink has the VLANs that it needs: 'bridge vlan show')",
            )
        self._check_filter(interface)

    def complaints(self, source: str, ifname: str | None) -> list[str]:
        """Return a warning if a bridge is down, or if its spanning tree keeps a port silent."""
        if not sysfs.is_bridge(source):
            return []
        if not sysfs.is_up(source):
            return [
                f"bridge {source} is down, so the NIC reaches nothing; bring it up ('ip link set {source} up')"
            ]
        if not sysfs.has_stp(source):
            return []
        state = sysfs.port_state(ifname) if ifname else None
        delay = 2 * sysfs.forward_delay(source)
        if ifname is None and delay:
            return [
                f"bridge {source} takes part in the spanning tree, which keeps a new port silent for {delay:g} s, so a "
                "guest that asks for its address at boot may get no answer. If no loop is possible, turn the spanning "
                f"tree off ('ip link set {source} type bridge stp_state 0'), or lower its forward delay"
            ]
        if state not in (None, "forwarding"):
            return [
                f"the spanning tree of bridge {source} has the port {ifname} {state}, so the NIC reaches nothing now"
            ]
        return []

    def _observe_one(
        self, link: NicLink, source: str | None, unfiltered: bool
    ) -> Network:
        """Ask the kernel for the VLANs and flags of a port too. Raises :class:`LinkError`."""
        network, vlan = super()._observe_one(link, source, unfiltered), link.vlan
        if source is None:
            return dataclasses.replace(network, vlan=None, isolated=None)
        if vlan is not None:
            from .. import port_vlan

            found = port_vlan.read(link.ifname)
            if not found.matches(vlan):
                network = dataclasses.replace(network, vlan=shorten(str(found)))
        if not _is_plain(link):
            from .. import port

            if _flags_of(link) != port.read(link.ifname, link.mac):
                network = dataclasses.replace(network, isolated=None, filter=None)
        return network

    def left_of(self, link: NicLink, before: NicLink) -> list[str]:
        """Return in words what is left of a filter, and of flags and VLANs of the port."""
        name, left = link.ifname, super().left_of(link, before)
        if _is_plain(link) and not _is_plain(before):
            from .. import port

            if port.read(name, link.mac) != _flags_of(link):
                left.append("its port does not have the flags of a new one")
        if link.vlan is None and before.vlan is not None:
            from .. import port_vlan

            if not port_vlan.is_default(name, str(link.network.source)):
                left.append("its port has not the VLAN of a new one")
        return left

    def update(self, link: NicLink, network: Network) -> None:
        """Move a tap to another bridge, or change its VLANs, filter, flags and MTU. Raises :class:`LinkError`."""
        from .. import link as links

        new, here = link.on(network), sysfs.master(link.ifname)
        self._quarantine(new)
        if here != network.source:
            # The port loses its VLANs and flags when it leaves its bridge.
            links.take_down(link.ifname)
            if here is not None:
                links.leave_bridge(link.ifname, here)
            self._set_filter(new, link)
            self._connect(new)
            self._set_port(new, None)
        else:
            if network.filter is not None:
                self._set_filter(new, link)
            self._set_port(new, link)
            if network.filter is None:
                self._set_filter(new, link)
            if network.mtu is not None and network.mtu != str(sysfs.mtu(link.ifname)):
                links.set_port_mtu(link.ifname, str(here), int(network.mtu))
        self._set_link(new)

    def source_of(self, ifname: str) -> str | None:
        """Return the bridge that a tap is a port of."""
        return sysfs.master(ifname)

    def _connect(self, link: NicLink) -> None:
        from .. import link as links

        network = link.network
        mtu = None if network.mtu is None else int(network.mtu)
        links.join_bridge(link.ifname, link.mac, str(network.source), mtu)

    def _set_port(self, link: NicLink, before: NicLink | None) -> None:
        name, bridge, vlan = link.ifname, str(link.network.source), link.vlan
        if link.network.vlan is not None and vlan is None:
            raise LinkError(f"the VLANs {link.network.vlan} of {name} cannot be read")
        plain = before is None or _is_plain(before)
        had_vlan = before is not None and before.network.vlan is not None
        if vlan is None and not had_vlan and plain and _is_plain(link):
            return
        from .. import port, port_vlan

        if before is not None and _flags_of(before).pinned:
            # Each of the port's VLANs has the entry, and it is removed from the VLANs that the port
            # has now.
            port.unpin(name, link.mac)
        if vlan is not None:
            port_vlan.apply(name, vlan)
        elif had_vlan:
            port_vlan.apply_default(name, bridge)
        if not plain or not _is_plain(link):
            port.apply(name, link.mac, _flags_of(link))


def _is_plain(link: NicLink) -> bool:
    """Tell whether a port has the flags that the kernel gives a new port."""
    return link.network.isolated != "yes" and link.network.filter is None


def _flags_of(link: NicLink) -> PortFlags:
    from .. import port

    network = link.network
    isolated = network.isolated == "yes"
    return port.flags_for(isolated, network.filter is not None, str(network.source))
