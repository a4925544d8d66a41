# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The IP addresses and networks that a NIC may use: the option ``addresses``. Pure.

Source: RFC 4291, appendix A, for the link-local address that a guest makes from a MAC.
"""

from __future__ import annotations

import functools
import ipaddress
import typing as t

from .._errors import OptionError

IpNetwork = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

# A NIC that needs more addresses belongs to a router. Its task should list networks instead of single addresses.
MAX_ADDRESSES = 256


def parse_addresses(option: str, items: t.Sequence[str]) -> tuple[IpNetwork, ...]:
    """Return the networks of the option ``addresses``, each once and in order. A single address counts as a network.

    Raises :class:`OptionError` for a text that is not an address or network, for host bits, for an address that
    cannot be a source, and for more than :data:`MAX_ADDRESSES`.
    """
    if len(items) > MAX_ADDRESSES:
        raise OptionError(
            option,
            f"{len(items)} addresses are more than the {MAX_ADDRESSES} that a NIC can have; give networks "
            "(192.0.2.0/28) instead",
        )
    parsed = [_parse(f"{option}[{number}]", item) for number, item in enumerate(items)]
    unique = sorted(set(parsed), key=lambda each: (each.version, each))
    # A network that is inside another one is allowed already.
    return tuple(
        network
        for network in unique
        if not any(_within(network, other) for other in unique if other != network)
    )


@functools.lru_cache(maxsize=256)
def parse_text(text: str) -> tuple[IpNetwork, ...]:
    """Return the networks in the form of records. A task asks several times for each NIC.

    Raises :class:`OptionError`.
    """
    return parse_addresses("addresses", text.split(",") if text else [])


def texts(networks: t.Iterable[IpNetwork]) -> list[str]:
    """Return networks as text, with single addresses without their prefix length."""
    return [str(each[0]) if each.num_addresses == 1 else str(each) for each in networks]


def link_local(mac: str) -> ipaddress.IPv6Network:
    """Return the link-local address that a guest makes from its MAC (EUI-64), as a network with one address."""
    raw = bytes.fromhex(mac.replace(":", ""))
    interface_id = bytes([raw[0] ^ 2, *raw[1:3], 0xFF, 0xFE, *raw[3:]])
    return ipaddress.IPv6Network((b"\xfe\x80" + bytes(6) + interface_id, 128))


def _within(network: IpNetwork, other: IpNetwork) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and network.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and network.subnet_of(other)


def _parse(option: str, item: str) -> IpNetwork:
    text = item.strip()
    try:
        network = ipaddress.ip_network(text, strict=True)
    except ValueError:
        raise OptionError(option, _problem(text)) from None
    if network.is_multicast:
        raise OptionError(
            option,
            f"{text} is a multicast address, which cannot be the source of a frame",
        )
    if network.num_addresses == 1 and (network.is_unspecified or network.is_loopback):
        raise OptionError(option, f"{text} is not an address that a NIC can have")
    return network


def _problem(text: str) -> str:
    try:
        inside = ipaddress.ip_interface(text)
    except ValueError:
        return f"{text!r} is neither an IP address nor a network (192.0.2.7, 192.0.2.0/28, 2001:db8::7)"
    return (
        f"{text} is not a network, because it has host bits. Give the address {inside.ip}, or the network "
        f"{inside.network}"
    )
