# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tap that is a port of a bridge of Open vSwitch."""

from __future__ import annotations

import dataclasses
import typing as t
import uuid as uuidlib

from ..._audit.network import Network, shorten
from ..._errors import LinkError
from .. import link as links
from .. import ovs_port, ovsdb, sysfs
from ..interface import Interface
from ..nic_link import NicLink
from ..ovs_port import OvsPort
from .base import Failures
from .tap import TapBackend

# A text of the switch's database can have any length. A record has space for two texts of this length. It is more than
# a task can ask for.
_MAX_TEXT_BYTES = 256


class OpenVSwitch(TapBackend):
    """A tap that is a port of a bridge of Open vSwitch.

    The kernel removes the tap when its last descriptor is closed. The row of the port stays in the database, so
    this class removes it.
    """

    kind = "openvswitch"
    family = "ingress"
    left = "the port in Open vSwitch's database or the filter"
    moves = True

    def check(self, interface: Interface, leftovers: object) -> None:
        """Require that the switch runs and has the bridge. Raises :class:`OptionError`."""
        try:
            ovsdb.require_switch()
            datapaths = ovs_port.datapaths()
        except LinkError as exc:
            raise interface.error("source", str(exc)) from exc
        if interface.source not in datapaths:
            raise interface.error(
                "source",
                f"{interface.source} is not a bridge of Open vSwitch ('ovs-vsctl list-br' names them)",
            )
        if interface.filter != "none" and datapaths[interface.source] == "netdev":
            raise interface.error(
                "filter",
                f"{interface.source} has its datapath in user space (datapath_type: netdev), where no filter of the kernel"
                " sees the guest's frames; use filter: none and the switch's own OpenFlow rules, or a bridge with the"
                " kernel's datapath",
            )
        self._check_filter(interface)

    def complaints(self, source: str, ifname: str | None) -> list[str]:
        """Return a warning if the switch does not use a port."""
        port = ovs_port.read(ifname) if ifname is not None else None
        if port is None or port.error is None:
            return []
        return [
            f"Open vSwitch does not use the port {ifname} of {source}, so the NIC reaches nothing: {port.error}"
        ]

    def observe_all(self, links: t.Sequence[NicLink]) -> list[Network]:
        """Ask the database for the networks that taps are on now, and return them. Raises :class:`LinkError`."""
        ports = ovs_port.read_all([each.ifname for each in links])
        sources = {name: port and port.bridge for name, port in ports.items()}
        found = self._observe_at(links, sources)
        return [
            _with_port(network, ports[each.ifname])
            for each, network in zip(links, found)
        ]

    def update(self, link: NicLink, network: Network) -> None:
        """Move a tap to another bridge, or change its VLANs and the rest in place. Raises :class:`LinkError`."""
        new = link.on(network)
        self._quarantine(new)
        port = ovs_port.read(link.ifname)
        if network.filter is not None:
            self._set_filter(new, link)
        if port is None or port.bridge != network.source:
            links.take_down(link.ifname)
            if port is not None:
                ovs_port.remove(link.ifname)
            made = {link.ifname: _port_of(new, port, link)}
            for failure in ovs_port.add(made).values():
                raise failure
        else:
            ovs_port.update(link.ifname, _port_of(new, port, link), port)
        if network.filter is None:
            self._set_filter(new, link)
        self._set_mtu(new)
        self._set_link(new)

    def remains(self, link: NicLink) -> bool:
        """Tell whether a persistent tap exists, or whether the port's row or the filter still exists without its tap.

        Raises :class:`LinkError`.
        """
        return self._has_row(link) or super().remains(link)

    @staticmethod
    def _has_row(link: NicLink) -> bool:
        if sysfs.exists(link.ifname) or not ovsdb.is_installed():
            return False
        port = ovs_port.read(link.ifname)
        return port is not None and port.ids.get(ovs_port.MAC) == link.mac

    def remove(self, link: NicLink) -> None:
        """Remove a persistent tap, the filter, and the port's row, which the kernel does not remove with the tap.

        Raises :class:`LinkError`.
        """
        super().remove(link)
        # The row comes last, because the switch uses the row of a port as long as its tap exists.
        if self._has_row(link):
            ovs_port.remove(link.ifname)

    def source_of(self, ifname: str) -> str | None:
        """Return the bridge that a tap is a port of."""
        port = ovs_port.read(ifname) if ovsdb.is_installed() else None
        return None if port is None else port.bridge

    def _connect_all(self, links: t.Sequence[NicLink]) -> Failures:
        """Give taps their MACs and MTUs, and make all of them ports at once. Return the errors by MAC."""
        failures = super()._connect_all(links)
        macs = {each.ifname: each.mac for each in links if each.mac not in failures}
        ports = {
            each.ifname: _port_of(each, None) for each in links if each.ifname in macs
        }
        try:
            found = ovs_port.add(ports) if ports else {}
        except LinkError as exc:
            # Nobody knows what the switch has done with any of them.
            found = dict.fromkeys(macs, exc)
        failures.update({macs[name]: exc for name, exc in found.items()})
        return failures

    def _connect(self, link: NicLink) -> None:
        _require_vlan(link)
        links.set_mac(link.ifname, self.hwaddr_of(link.mac))
        self._set_mtu(link)

    def _set_port(self, link: NicLink, before: NicLink | None) -> None:
        """Do nothing, because the transaction that made the port has also set its VLANs and its isolation."""

    @staticmethod
    def _set_mtu(link: NicLink) -> None:
        bridge, own = str(link.network.source), sysfs.mtu(str(link.network.source))
        if link.network.mtu is None:
            return
        mtu = int(link.network.mtu)
        if own is not None and mtu < own:
            ovs_port.keep_mtu(bridge, own)
        links.set_mtu(link.ifname, mtu)


def _with_port(network: Network, port: OvsPort | None) -> Network:
    """Return a link's network with what the row of its port says."""
    if port is None:
        return dataclasses.replace(network, vlan=None, isolated=None)
    named = network.interface_id is not None
    return dataclasses.replace(
        network,
        vlan=None if port.vlan is None else shorten(str(port.vlan)),
        isolated="yes" if port.protected else None,
        port_profile=_text_of(port, ovs_port.PROFILE),
        interface_id=_text_of(port, ovs_port.INTERFACE) if named else None,
    )


def _text_of(port: OvsPort, name: str) -> str | None:
    """Return an external_id of a port. If the text is too long, cut it and add dots."""
    data = port.ids.get(name, "").encode("utf-8", "surrogatepass")
    if len(data) > _MAX_TEXT_BYTES:
        data = data[:_MAX_TEXT_BYTES] + b"..."
    return data.decode("utf-8", "replace") or None


def _port_of(
    link: NicLink, before: OvsPort | None, former: NicLink | None = None
) -> OvsPort:
    """Return the port that a network needs.

    ``before`` is the port that the link has, and ``former`` is the link on its former network. External_ids that no task
    has asked for stay, because they belong to the program that made the link, or to a controller.
    """
    _require_vlan(link)
    network, there = link.network, {} if before is None else before.ids
    given = network.interface_id
    if given is None and former is not None and former.network.interface_id is None:
        given = there.get(ovs_port.INTERFACE)
    given = given or str(uuidlib.uuid5(uuidlib.NAMESPACE_OID, link.mac))
    vm = link.vm or there.get(ovs_port.VM)
    ids = ovs_port.ids_of(link.mac, vm, given, network.port_profile)
    others = {name: text for name, text in there.items() if name != ovs_port.PROFILE}
    source, isolated = str(network.source), network.isolated == "yes"
    return OvsPort(source, link.vlan, isolated, {**others, **ids})


def _require_vlan(link: NicLink) -> None:
    if link.network.vlan is not None and link.vlan is None:
        raise LinkError(
            f"the VLANs {link.network.vlan} of {link.ifname} cannot be read"
        )
