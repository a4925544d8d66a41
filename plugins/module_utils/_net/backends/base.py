# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every kind of link does: check, open, prepare, observe, update, remove."""

from __future__ import annotations

import abc
import dataclasses
import typing as t

from ..._audit.network import Network
from ..._device import Device
from ..._errors import LinkError
from .. import sysfs
from ..interface import Interface
from ..nic_link import NicLink, guest_side_mac

if t.TYPE_CHECKING:
    from ..filter.ruleset import Family


class Nodes(t.Protocol):
    """Opens nodes and puts each open on record; owns what is opened and made until it is handed over."""

    def open_node(
        self,
        interface: Interface,
        path: str,
        setup: t.Callable[[Device], None] | None,
    ) -> Device:
        """Open a node and make it what it should be."""

    def made_link(self, ifname: str) -> None:
        """Take a link that does not go with its last descriptor."""


class Backend(abc.ABC):
    """One kind of link. It keeps nothing: all that it needs is told, and the rest is the kernel's."""

    # The option ``type``.
    kind: t.ClassVar[str]
    # nftables' table for what its guests send.
    family: t.ClassVar[Family]
    # What stays when its last descriptor is closed, in words.
    left: t.ClassVar[str]
    # Whether a link can move to another source.
    moves: t.ClassVar[bool]
    # Whether its NICs have a link on the host.
    has_link: t.ClassVar[bool] = True

    @abc.abstractmethod
    def check(self, interface: Interface, leftovers: t.Collection[str]) -> None:
        """Refuse what this host cannot make, before anything is opened. Raises :class:`OptionError`.

        ``leftovers`` are links of the VM that are removed before anything is made.
        """

    @abc.abstractmethod
    def complaints(self, source: str, ifname: str | None) -> list[str]:
        """Return what is wrong with a network that a NIC is, or is to be, on, though it can be made: it passes nothing.

        ``ifname`` is the NIC's link where it has one.
        """

    @abc.abstractmethod
    def open(self, interface: Interface, nodes: Nodes) -> list[Device]:
        """Make the link and open its queues. It is down, and on no network.

        Raises :class:`DeviceError`, :class:`LinkError` or :class:`AuditError`.
        """

    def prepare(self, link: NicLink) -> None:
        """Put a link that is down on its network, and bring it up unless it is to be down. Raises :class:`LinkError`.

        All that keeps frames apart is in place, and read back, before the first one can pass.
        """
        from .. import link as links

        links.disable_ipv6(link.ifname)
        self._connect(link)
        self._set_filter(link, None)
        self._set_port(link, None)
        if link.network.link != "down":
            links.bring_up(link.ifname)

    def observe(self, link: NicLink) -> Network:
        """Return the network that a link is on now, by the kernel. Raises :class:`LinkError`.

        What ``link`` does not name is not looked at.
        """
        return self._observe_at(link, self.source_of(link.ifname))

    def _observe_at(self, link: NicLink, source: str | None) -> Network:
        """Return the network of a link whose source is known."""
        network, rights = link.network, link.rights
        if rights is not None:
            from ..filter import nft

            if nft.missing_of(self.family, link.ifname, rights) is not None:
                network = dataclasses.replace(network, filter=None, addresses=None)
        mtu, own = sysfs.mtu(link.ifname), sysfs.address(link.ifname)
        right = own in (None, self.hwaddr_of(link.mac))
        return dataclasses.replace(
            network,
            source=source,
            link=None if sysfs.is_up(link.ifname) else "down",
            mtu=str(mtu) if network.mtu is not None and mtu is not None else None,
            hwaddr=None if right and network.hwaddr is None else own,
        )

    def left_of(self, link: NicLink, before: NicLink) -> list[str]:
        """Return in words what is still there of the network ``before``, and :meth:`observe` does not look at any more.

        Raises :class:`LinkError`.
        """
        if link.rights is not None or before.rights is None:
            return []
        from ..filter import table
        from ..filter.elements import elements_of

        left = table.there(self.family, elements_of(before.rights))
        return ["its former filter is still there"] if left else []

    def mode_of(self, ifname: str) -> str | None:
        """Return the mode of a link as the option ``mode`` names it, ``None`` for a kind without."""
        return None

    def hwaddr_of(self, mac: str) -> str:
        """Return the MAC of the link itself, from that of the guest's NIC."""
        return guest_side_mac(mac)

    @abc.abstractmethod
    def update(self, link: NicLink, network: Network) -> None:
        """Put a link on another network, without its guest. Raises :class:`LinkError`.

        ``link.network`` is the network that it is on. No frame passes that neither of the two lets pass.
        """

    def remains(self, link: NicLink) -> bool:
        """Tell whether something of a link is there that does not go with its last descriptor. Raises :class:`LinkError`."""
        rights = link.rights
        if rights is None or sysfs.exists(link.ifname):
            return False
        from ..filter import table
        from ..filter.elements import elements_of

        return any(table.has(self.family, each) for each in elements_of(rights))

    def remove(self, link: NicLink) -> None:
        """Remove what is left of a link that nobody holds: the rules that do not go with it. Raises :class:`LinkError`."""
        rights = link.rights
        if rights is not None:
            from ..filter import nft

            nft.remove(self.family, rights)

    @abc.abstractmethod
    def source_of(self, ifname: str) -> str | None:
        """Return the bridge or the lower device of a link, as the kernel knows it."""

    @abc.abstractmethod
    def _connect(self, link: NicLink) -> None:
        """Put a link that is down on its source, with its MAC and MTU."""

    @abc.abstractmethod
    def _set_port(self, link: NicLink, before: NicLink | None) -> None:
        """Give the port its VLANs and flags; ``before`` is what it had them from, ``None`` for a new port."""

    def _check_filter(self, interface: Interface) -> None:
        """Refuse a filter that this host cannot put in place. Raises :class:`OptionError`."""
        if interface.filter == "none":
            return
        from ..filter import nft

        try:
            nft.check(self.family)
        except LinkError as exc:
            raise interface.error("filter", str(exc)) from exc

    def _set_filter(self, link: NicLink, before: NicLink | None) -> None:
        """Filter what a link sends as its network says; ``before`` is what it was filtered by."""
        old = before.rights if before else None
        if link.rights is not None:
            from ..filter import nft

            nft.put(self.family, link.ifname, link.rights, old)
        elif old is not None:
            from ..filter import nft

            nft.remove(self.family, old)

    def _set_link(self, link: NicLink) -> None:
        """Bring a link up, or take it down, as its network says."""
        from .. import link as links

        up = link.network.link != "down"
        if up is not sysfs.is_up(link.ifname):
            (links.bring_up if up else links.take_down)(link.ifname)
