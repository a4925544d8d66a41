# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nftables rules that filter what guests send. The rules are fixed. Sets hold what each NIC may send. Pure.

A frame passes the same few rules on a host with one NIC and on a host with a thousand, because the rules look
NICs up in sets by the index of their link. The index stays when a link is renamed, and a new link never gets it.
Three tables hold the same rules: one for the ports of bridges, one for macvtaps, and one for taps that are not ports
of a Linux bridge, such as those of Open vSwitch. Sources: ``nft(8)``, RFC 826, RFC 4861 (neighbour discovery),
RFC 7527 (the nonce), RFC 2131 and RFC 8415 (DHCP).
"""

from __future__ import annotations

import typing as t

# The number changes with the rules. So this version does not touch the table of an older version of the
# collection.
TABLE = "virtaudit_1"
# The tables: one for frames that come in at a port of a bridge, one for frames that a macvtap sends, and one for frames
# that come in at another tap. The first two have the names of nft's families.
Family = t.Literal["bridge", "netdev", "ingress"]
# The table's comment. A table that has the same name but not this comment belongs to somebody else.
COMMENT = "made by virtaudit.qemu: filters of VM NICs"

# nft adds the conditions that a rule's fields depend on. Mostly it tests the type in the Ethernet header, and this test
# does not match a frame with a VLAN tag. "meta protocol" before the fields avoids the test, and looks behind the tag.

# Each set with its key. The payload at a bit offset of the transport header has no name in nft 1.0.6.
_SETS = {
    "nics": "type iface_index",
    "addressed": "type iface_index",
    "trunks": "type iface_index",
    "macs": "type iface_index . ether_addr",
    "nd_macs": "typeof meta {key} . @th,208,48",
    "addresses4": "type iface_index . ipv4_addr",
    "networks4": "type iface_index . ipv4_addr; flags interval",
    "addresses6": "type iface_index . ipv6_addr",
    "networks6": "type iface_index . ipv6_addr; flags interval",
    "targets6": "typeof meta {key} . @th,64,128",
    "target_networks6": "typeof meta {key} . @th,64,128; flags interval",
}
SETS = tuple(_SETS)

_CHAINS: dict[str, list[str]] = {
    "guest": [
        "meta {key} . ether saddr != @macs drop",
        # Spanning tree, LLDP, pause frames and similar ones are for switches only.
        "ether daddr 01:80:c2:00:00:00-01:80:c2:00:00:0f drop",
        # This looks at the header itself, because new kernels look behind a second tag and PPPoE for the protocol.
        "ether type != {{ arp, ip, ip6, 8021q }} drop",
        "meta {key} != @trunks ether type 8021q drop",
        "vlan type != {{ arp, ip, ip6 }} drop",
        "meta protocol arp goto guest_arp",
        # A packet whose headers lead to no protocol is dropped.
        "meta protocol ip meta l4proto 0-255 goto guest_ip4",
        "meta protocol ip6 meta l4proto 0-255 goto guest_ip6",
        "drop",
    ],
    "guest_arp": [
        "meta protocol arp arp htype != 1 drop",
        "meta protocol arp arp ptype != ip drop",
        "meta protocol arp arp hlen != 6 drop",
        "meta protocol arp arp plen != 4 drop",
        "meta protocol arp arp operation != {{ request, reply }} drop",
        "meta protocol arp meta {key} . arp saddr ether != @macs drop",
        "meta {key} != @addressed accept",
        # A probe that asks whether an address is free (RFC 5227).
        "meta protocol arp arp saddr ip 0.0.0.0 accept",
        "meta protocol arp meta {key} . arp saddr ip @addresses4 accept",
        "meta protocol arp meta {key} . arp saddr ip @networks4 accept",
        "drop",
    ],
    "guest_ip4": [
        "udp sport 67 drop",
        "udp dport 68 drop",
        "meta {key} != @addressed accept",
        "meta {key} . ip saddr @addresses4 accept",
        "meta {key} . ip saddr @networks4 accept",
        "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
        "drop",
    ],
    "guest_ip6": [
        # The first fragment has to hold all headers (RFC 7112). Fragments that hide them are dropped.
        "meta protocol ip6 frag nexthdr {{ 0, 43, 44, 60 }} drop",
        "udp sport 547 drop",
        "udp dport 546 drop",
        "meta protocol ip6 icmpv6 type {{ nd-router-advert, nd-redirect }} drop",
        "meta protocol ip6 icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} goto guest_nd",
        "meta {key} != @addressed accept",
        # Reports of multicast groups while the guest has no address yet (RFC 3590).
        "meta protocol ip6 ip6 saddr :: icmpv6 type {{ mld-listener-report, mld-listener-done, mld2-listener-report }} accept",
        "jump own_source",
        "accept",
    ],
    "guest_nd": [
        # These messages must not be behind another header or in fragments (RFC 6980).
        "ip6 nexthdr != icmpv6 drop",
        "meta protocol ip6 icmpv6 type nd-router-solicit goto guest_rs",
        "meta {key} @addressed jump own_nd",
        "ip6 length 24 accept",
        "meta protocol ip6 icmpv6 type nd-neighbor-solicit ip6 length 32 @th,192,16 0x0e01 accept",
        "meta {key} . @th,208,48 != @nd_macs drop",
        "meta protocol ip6 icmpv6 type nd-neighbor-solicit ip6 length 32 @th,192,16 0x0101 accept",
        "meta protocol ip6 icmpv6 type nd-neighbor-solicit ip6 length 40 @th,192,16 0x0101 @th,256,16 0x0e01 accept",
        "meta protocol ip6 icmpv6 type nd-neighbor-advert ip6 length 32 @th,192,16 0x0201 accept",
        "drop",
    ],
    "guest_rs": [
        "meta {key} @addressed jump own_rs",
        "ip6 length 8 accept",
        "ip6 length 16 @th,64,16 0x0101 meta {key} . @th,80,48 @nd_macs accept",
        "drop",
    ],
    # The other chains return if the packet has the NIC's own addresses.
    "own_rs": ["ip6 saddr :: return", "goto own_source"],
    "own_nd": [
        "meta protocol ip6 icmpv6 type nd-neighbor-advert jump own_target",
        # Duplicate address detection asks for the guest's own address before the guest has it.
        "meta protocol ip6 icmpv6 type nd-neighbor-solicit ip6 saddr :: goto own_target",
        "goto own_source",
    ],
    "own_source": [
        "meta {key} . ip6 saddr @addresses6 return",
        "meta {key} . ip6 saddr @networks6 return",
        "drop",
    ],
    "own_target": [
        "meta {key} . @th,64,128 @targets6 return",
        "meta {key} . @th,64,128 @target_networks6 return",
        "drop",
    ],
}
_BASE = "from_guests"
_BASE_RULE = "meta iif @nics jump guest"


def build(family: Family) -> str:
    """Return nft's commands that make a table, or that restore the rules of a table that lost some of them.

    The commands run as one transaction. They do not change the elements of the sets.
    """
    key = _key(family)
    table = words_of(family)
    lines = [f'add table {table} {{ comment "{COMMENT}"; }}']
    for name, kind in _SETS.items():
        lines.append(f"add set {table} {name} {{ {kind.format(key=key)}; }}")
    chains = _chains(family)
    for name in chains:
        hook = " { type filter hook prerouting priority -300; policy accept; }"
        lines.append(f"add chain {table} {name}{hook if name == _BASE else ''}")
    for name in chains:
        lines.append(f"flush chain {table} {name}")
    for name, rules in chains.items():
        for number, rule in enumerate(rules):
            text = rule.format(key=key)
            lines.append(
                f'add rule {table} {name} {text} comment "{_label(name, number)}"'
            )
    return "\n".join(lines)


def name_of(family: Family) -> str:
    """Return the name of a table."""
    return f"{TABLE}_ingress" if family == "ingress" else TABLE


def words_of(family: Family) -> str:
    """Return the name that nft gives a table: its family and its name."""
    return f"{'netdev' if family == 'ingress' else family} {name_of(family)}"


def labels(family: Family) -> dict[str, list[str]]:
    """Return the comments of the rules of each chain of a complete table, in order."""
    return {
        name: [_label(name, number) for number in range(len(rules))]
        for name, rules in _chains(family).items()
    }


def hook_of(ifindex: int) -> str:
    """Return the name of a link's own chain, by which its frames enter the table.

    Only a macvtap, and a tap that is not a port of a Linux bridge, has such a chain.
    """
    return f"nic_{ifindex}"


def _chains(family: Family) -> dict[str, list[str]]:
    # The targets of jumps come first, because nft must know them.
    chains = dict(reversed(_CHAINS.items()))
    if family == "bridge":
        chains[_BASE] = [_BASE_RULE]
    return chains


def _key(family: Family) -> str:
    return "oif" if family == "netdev" else "iif"


def _label(chain: str, number: int) -> str:
    return f"{chain} {number + 1}"
