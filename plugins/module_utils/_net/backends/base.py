# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of every kind of link: check, open, prepare, observe, update, remove."""

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
    """Opens nodes and records each open. It owns everything that it opens and makes, until the hand-over."""

    def open_node(
        self,
        interface: Interface,
        path: str,
        setup: t.Callable[[Device], None] | None,
    ) -> Device:
        """Open a node and set it up."""

    def made_link(self, ifname: str) -> None:
        """Take over a link that stays when its last descriptor is closed."""


# By MAC.
Failures = dict[str, LinkError]


class Backend(abc.ABC):
    """One kind of link. It has no state: callers pass what it needs, and it asks the kernel for the rest."""

    # The option ``type``.
    kind: t.ClassVar[str]
    # The table of nftables that filters what the guests behind this kind of link send.
    family: t.ClassVar[Family]
    # In words, what stays when the last descriptor of the link is closed.
    left: t.ClassVar[str]
    # Whether a link can move to another source.
    moves: t.ClassVar[bool]
    # Whether its NICs have a link on the host.
    has_link: t.ClassVar[bool] = True

    @abc.abstractmethod
    def check(self, interface: Interface, leftovers: t.Collection[str]) -> None:
        """Refuse an interface that this host cannot make, before anything is opened. Raises :class:`OptionError`.

        ``leftovers`` are links of the VM that the task removes before it makes anything.
        """

    @abc.abstractmethod
    def complaints(self, source: str, ifname: str | None) -> list[str]:
        """Return why the network of a NIC would pass no frames, although the link can be made.

        ``ifname`` is the NIC's link, if it has one already.
        """

    @abc.abstractmethod
    def open(self, interface: Interface, nodes: Nodes) -> list[Device]:
        """Make the link and open its queues. The link is down, and on no network.

        Raises :class:`DeviceError`, :class:`LinkError` or :class:`AuditError`.
        """

    def prepare(self, links: t.Sequence[NicLink]) -> t.Iterator[LinkError | None]:
        """Put links that are down on their networks, and bring each up unless the task wants it down.

        For each link, in their order, yield ``None`` when it is done, or the error that it met. This sets VLAN, filter
        and isolation, and reads them back, before the first frame can pass. The links share what takes as long for all
        of them as for one. No link is up before the caller asks for its result.
        """
        failures = self._connect_all(links)
        failures.update(
            self._put_filters([each for each in links if each.mac not in failures])
        )
        for each in links:
            yield failures.get(each.mac) or self._finish(each)

    def _finish(self, link: NicLink) -> LinkError | None:
        """Set the port of a link that is on its source and filtered, and bring it up. Return the error, if there is one."""
        from .. import link as links

        try:
            self._set_port(link, None)
            if link.network.link != "down":
                links.bring_up(link.ifname)
        except LinkError as exc:
            return exc
        return None

    def _connect_all(self, links: t.Sequence[NicLink]) -> Failures:
        """Put links that are down on their sources. Return the errors by MAC."""
        from .. import link as module

        failures: Failures = {}
        for each in links:
            try:
                module.disable_ipv6(each.ifname)
                self._connect(each)
            except LinkError as exc:
                failures[each.mac] = exc
        return failures

    def _put_filters(self, links: t.Sequence[NicLink]) -> Failures:
        """Filter what the NICs behind new links send. Return the errors by MAC."""
        rights = {each.mac: each.rights for each in links}
        filtered = [each for each in links if rights[each.mac] is not None]
        if not filtered:
            return {}
        from ..filter import nft

        found = nft.put_all(
            self.family,
            {each.ifname: given for each in filtered if (given := rights[each.mac])},
        )
        return {
            each.mac: found[each.ifname] for each in filtered if each.ifname in found
        }

    def observe(self, link: NicLink) -> Network:
        """Ask the kernel for the network that a link is on now, and return it. Raises :class:`LinkError`.

        Values that ``link`` does not name are not read.
        """
        return self.observe_all([link])[0]

    def observe_all(self, links: t.Sequence[NicLink]) -> list[Network]:
        """Return the networks that links are on now, as :meth:`observe` does. Raises :class:`LinkError`."""
        sources = {each.ifname: self.source_of(each.ifname) for each in links}
        return self._observe_at(links, sources)

    def _observe_at(
        self, links: t.Sequence[NicLink], sources: t.Mapping[str, str | None]
    ) -> list[Network]:
        """Return the networks of links whose sources are known, by the links' names."""
        rights = {each.ifname: found for each in links if (found := each.rights)}
        missing: t.Collection[str] = ()
        if rights:
            from ..filter import nft

            missing = nft.missing_of(self.family, rights)
        return [
            self._observe_one(each, sources[each.ifname], each.ifname in missing)
            for each in links
        ]

    def _observe_one(
        self, link: NicLink, source: str | None, unfiltered: bool
    ) -> Network:
        """Return the network of a link whose source is known, and whether its filter is missing."""
        network = link.network
        if unfiltered:
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
        """Return in words what is left of the network ``before`` that :meth:`observe` no longer looks at.

        Raises :class:`LinkError`.
        """
        if link.rights is not None or before.rights is None:
            return []
        from ..filter import table
        from ..filter.elements import elements_of

        left = table.there(self.family, elements_of(before.rights))
        return ["its former filter is still there"] if left else []

    def mode_of(self, ifname: str) -> str | None:
        """Return the mode of a link in the words of the option ``mode``, or ``None`` for a kind without modes."""
        return None

    def hwaddr_of(self, mac: str) -> str:
        """Return the MAC of the link itself, from that of the guest's NIC."""
        return guest_side_mac(mac)

    @abc.abstractmethod
    def update(self, link: NicLink, network: Network) -> None:
        """Put a link on another network without the guest's help. Raises :class:`LinkError`.

        ``link.network`` is the network that the link is on. During the change a frame passes only if one of the two
        networks lets it pass.
        """

    def remains(self, link: NicLink) -> bool:
        """Tell whether a part of a link exists that stays when its last descriptor is closed.

        Raises :class:`LinkError`.
        """
        rights = link.rights
        if rights is None or sysfs.exists(link.ifname):
            return False
        from ..filter import table
        from ..filter.elements import elements_of

        return any(table.has(self.family, each) for each in elements_of(rights))

    def remove(self, link: NicLink) -> None:
        """Remove what is left of a link that nobody holds: its filter's rules. Raises :class:`LinkError`."""
        rights = link.rights
        if rights is not None:
            from ..filter import nft

            nft.remove(self.family, rights)

    @abc.abstractmethod
    def source_of(self, ifname: str) -> str | None:
        """Ask the kernel for the bridge or the lower device of a link, and return it."""

    @abc.abstractmethod
    def _connect(self, link: NicLink) -> None:
        """Put a link that is down on its source, with its MAC and MTU."""

    @abc.abstractmethod
    def _set_port(self, link: NicLink, before: NicLink | None) -> None:
        """Give the port its VLANs and flags.

        ``before`` is the link with its earlier network, or ``None`` for a new port.
        """

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
        """Set the filter that a link's network asks for. ``before`` is the filter that the link had."""
        old = before.rights if before else None
        if link.rights is not None:
            from ..filter import nft

            nft.put(self.family, link.ifname, link.rights, old)
        elif old is not None:
            from ..filter import nft

            nft.remove(self.family, old)

    def _quarantine(self, link: NicLink) -> None:
        """Take a link down if its network says so, before an update changes anything else.

        So no frame passes between the networks, and the quarantine does not depend on a filter or a switch.
        """
        if link.network.link == "down":
            self._set_link(link)

    def _set_link(self, link: NicLink) -> None:
        """Bring a link up, or take it down, as its network says."""
        from .. import link as links

        up = link.network.link != "down"
        if up is not sysfs.is_up(link.ifname):
            (links.bring_up if up else links.take_down)(link.ifname)
