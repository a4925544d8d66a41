# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A macvtap on a network device."""

from __future__ import annotations

import typing as t

from ..._audit.network import Network
from ..._device import Device, format_number
from ..._errors import DeviceError, LinkError
from .. import sysfs
from ..interface import Interface
from ..nic_link import NicLink
from .base import Backend, Nodes

_MACVLANS = ("macvlan", "macvtap")


class Direct(Backend):
    """A macvtap on a network device."""

    kind = "direct"
    family = "netdev"
    left = "the macvtap"
    moves = False

    def check(self, interface: Interface, leftovers: t.Collection[str]) -> None:
        """Require a lower device that is up and free, and that can do what the task asks for.

        Raises :class:`OptionError`.
        """
        from .. import link as links

        lower = interface.source
        if not sysfs.is_up(lower):
            raise interface.error(
                "source",
                f"{lower} is down, so a macvtap on it would be down, too; bring it up first",
            )
        master = sysfs.master(lower)
        if master is not None:
            raise interface.error(
                "source",
                f"{lower} is a port of {master}, and a macvtap needs a device that is no port; use another "
                "device",
            )
        parent = sysfs.lower(lower)
        if parent is not None and links.kind(lower) in _MACVLANS:
            raise interface.error(
                "source",
                f"{lower} is a macvlan, and the kernel would put the macvtap on its parent {parent}; give {parent} "
                "itself as source",
            )
        users = [name for name in sysfs.uppers(lower) if name not in leftovers]
        if interface.mode == "passthrough" and users:
            raise interface.error(
                "mode",
                f"passthrough needs the whole device {lower}, which these links use already: {', '.join(users)}",
            )
        for user in users:
            if (
                sysfs.macvtap_rdev(user) is not None
                and links.macvtap_mode(user) == "passthrough"
            ):
                raise interface.error(
                    "source",
                    f"{user} uses the whole device {lower} (mode passthrough)",
                )
        lower_mtu = sysfs.mtu(lower)
        if (
            interface.mtu is not None
            and lower_mtu is not None
            and interface.mtu > lower_mtu
        ):
            raise interface.error(
                "mtu", f"{interface.mtu} is more than {lower_mtu}, the MTU of {lower}"
            )
        self._check_filter(interface)

    def complaints(self, source: str, ifname: str | None) -> list[str]:
        """Return a warning if the lower device is down."""
        if sysfs.is_up(source):
            return []
        return [f"{source} is down, so the NIC reaches nothing; bring it up"]

    def open(self, interface: Interface, nodes: Nodes) -> list[Device]:
        """Make a macvtap, and open its node for each queue."""
        from .. import device
        from .. import link as links

        def setup(opened: Device) -> None:
            device.become_macvtap(opened, interface.ifname, interface.queues)

        index = links.add_macvtap(
            interface.ifname, interface.mac, interface.source, interface.mode
        )
        nodes.made_link(interface.ifname)
        if interface.mode == "passthrough":
            # The kernel made the macvtap with the lower device's MAC. With this call it gives the lower device the
            # guest's MAC. It restores the lower device's own MAC when anybody removes the macvtap.
            links.set_mac(interface.ifname, interface.mac)
        path = f"/dev/tap{index}"
        _verify_node(interface, path)
        return [
            nodes.open_node(interface, path, setup)
            for _number in range(interface.queues)
        ]

    def update(self, link: NicLink, network: Network) -> None:
        """Change the filter and the MTU of a macvtap. It cannot move to another device. Raises :class:`LinkError`."""
        from .. import link as links

        if network.source != sysfs.lower(link.ifname):
            raise LinkError(
                f"the macvtap {link.ifname} cannot move to {network.source}; detach the NIC and attach it there"
                " (on_mismatch: replace)"
            )
        new = link.on(network)
        self._quarantine(new)
        self._set_filter(new, link)
        if network.mtu is not None:
            links.set_mtu(link.ifname, int(network.mtu))
        self._set_link(new)

    def remains(self, link: NicLink) -> bool:
        """Tell whether the macvtap or its rules exist."""
        return _present_name(link) is not None or super().remains(link)

    def remove(self, link: NicLink) -> None:
        """Remove the macvtap, because the close of its last descriptor does not, and then its rules.

        Raises :class:`LinkError`.
        """
        from .. import link as links

        name = _present_name(link)
        if name is not None:
            links.remove(name)
        super().remove(link)

    def hwaddr_of(self, mac: str) -> str:
        """Return the guest's MAC, because a macvtap takes only frames for its own MAC."""
        return mac

    def mode_of(self, ifname: str) -> str | None:
        """Return a macvtap's mode."""
        from .. import link as links

        return links.macvtap_mode(ifname)

    def source_of(self, ifname: str) -> str | None:
        """Return the lower device of a macvtap."""
        return sysfs.lower(ifname)

    def _connect(self, link: NicLink) -> None:
        from .. import link as links

        # The host does not know the multicast groups of a guest, such as those of its neighbour
        # discovery.
        links.receive_all_multicast(link.ifname)
        if link.network.mtu is not None:
            links.set_mtu(link.ifname, int(link.network.mtu))

    def _set_port(self, link: NicLink, before: NicLink | None) -> None:
        """Do nothing, because a macvtap is not a port of a bridge."""

    def _check_filter(self, interface: Interface) -> None:
        super()._check_filter(interface)
        if interface.filter != "none":
            from ..filter import nft

            try:
                nft.check_egress()
            except LinkError as exc:
                raise interface.error("filter", str(exc)) from exc


def _present_name(link: NicLink) -> str | None:
    """Return the name that the macvtap of a NIC has now, or ``None`` if it is gone.

    It keeps its index if somebody renames it or its lower device. In another network namespace, another macvtap can have
    the index. So either its name or its lower device must be the noted one.
    """
    name, noted = link.ifname, False
    if link.ifindex is not None:
        found = sysfs.name_of(link.ifindex)
        if found is None:
            return None
        name, noted = found, found == name
    if sysfs.macvtap_rdev(name) is None:
        return None
    # If a task was cut off after it made the link and before it noted it, the index is unknown. In mode
    # passthrough the link's MAC may then be the lower device's.
    return name if noted or sysfs.lower(name) == link.network.source else None


def _verify_node(interface: Interface, path: str) -> None:
    from .. import device

    expected = sysfs.macvtap_rdev(interface.ifname)
    found = device.rdev_of(path)
    if expected is None or found is None:
        raise DeviceError(
            f"macvtap {interface.ifname} got no node {path}; is devtmpfs mounted on /dev?"
        )
    if found != format_number(expected):
        raise DeviceError(f"{path} is not the node of macvtap {interface.ifname}")
