# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns what one NIC may send into elements of the sets of the filter's table. Pure.

Source: ``nft(8)``, SETS; ``include/uapi/linux/netfilter/nf_tables.h`` for the form of a key.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
import typing as t

from ..addresses import IpNetwork, link_local

Level = t.Literal["mac", "address"]


class Rights(t.NamedTuple):
    """What the NIC behind a link may send.

    ``level`` is the option ``filter``. ``addresses`` are the networks of the option ``addresses``. With ``mac``
    there are none. ``trunk`` tells whether the NIC may send VLAN tags.
    """

    ifindex: int
    mac: str
    level: Level
    addresses: tuple[IpNetwork, ...]
    trunk: bool


class Element(t.NamedTuple):
    """One element: the link's index, together with the value, or the range up to ``last``, that the set allows."""

    set: str
    ifindex: int
    first: bytes = b""
    last: bytes | None = None

    def text(self) -> str:
        """Return the element in nft's notation."""
        if not self.first:
            return str(self.ifindex)
        value = _text(self.set, self.first)
        if self.last is not None:
            value += f"-{_text(self.set, self.last)}"
        return f"{self.ifindex} . {value}"

    def key(self) -> bytes:
        """Return its key, or the first key of a range, in the kernel's form. There each part is padded to four bytes."""
        return self._key(self.first)

    def key_end(self) -> bytes | None:
        """Return the last key of a range."""
        return None if self.last is None else self._key(self.last)

    def _key(self, value: bytes) -> bytes:
        # nft reverses the bytes of values that it looks up in ranges, so that they compare as
        # numbers.
        order = "=I" if self.last is None else ">I"
        return struct.pack(order, self.ifindex) + value + bytes(-len(value) % 4)


# A task needs the elements of a NIC to set them, and each time that it reads them back.
@functools.lru_cache(maxsize=256)
def elements_of(rights: Rights) -> tuple[Element, ...]:
    """Return the elements for a NIC's rights, in the order of the table's sets."""
    index = rights.ifindex
    mac = bytes.fromhex(rights.mac.replace(":", ""))
    found = [
        Element("nics", index),
        Element("macs", index, mac),
        Element("nd_macs", index, mac),
    ]
    if rights.trunk:
        found.append(Element("trunks", index))
    if rights.level == "address":
        found.append(Element("addressed", index))
        allowed = list(rights.addresses)
        if any(network.version == 6 for network in allowed):
            # Without this address the guest has no neighbour discovery and no DHCPv6.
            own = link_local(rights.mac)
            if not any(
                network.version == 6 and own.subnet_of(network) for network in allowed
            ):
                allowed.append(own)
        for network in allowed:
            found += _of_network(index, network)
    return tuple(found)


def _of_network(index: int, network: IpNetwork) -> list[Element]:
    first, last = network[0].packed, network[-1].packed
    if network.num_addresses == 1:
        names = ["addresses4"] if network.version == 4 else ["addresses6", "targets6"]
        return [Element(name, index, first) for name in names]
    names = ["networks4"] if network.version == 4 else ["networks6", "target_networks6"]
    return [Element(name, index, first, last) for name in names]


def _text(name: str, value: bytes) -> str:
    if name == "macs":
        return value.hex(":")
    if name in ("addresses4", "networks4", "addresses6", "networks6"):
        return str(ipaddress.ip_address(value))
    return f"0x{value.hex()}"
