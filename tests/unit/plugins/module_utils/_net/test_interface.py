# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface import (
    Interface,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface_options import (
    parse_interfaces,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.mac import (
    compact,
    parse_mac,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    an_interface,
    an_item,
)

# given, option at fault, words of the message
REFUSED: list[tuple[dict[str, t.Any], str, str]] = [
    ({"mac": ""}, "mac", "'' is not a MAC address"),
    ({"mac": "52:54:00:00:00"}, "mac", "is not a MAC address"),
    ({"mac": "52:54:00:00:00:01:02"}, "mac", "is not a MAC address"),
    ({"mac": "52-54-00-00-00-01"}, "mac", "is not a MAC address"),
    ({"mac": "525400000001"}, "mac", "is not a MAC address"),
    # YAML 1.1 reads 52:54:00:00:00:01 as this number, to the base of 60.
    ({"mac": "41135040001"}, "mac", "quote it"),
    ({"mac": "52:54:00:00:00:0g"}, "mac", "is not a MAC address"),
    ({"mac": "52:54:00:00:00:1"}, "mac", "is not a MAC address"),
    ({"mac": "52:54:00:00:00:0\u0661"}, "mac", "is not a MAC address"),
    ({"mac": "52:54:00:00:00:01 res=x"}, "mac", "is not a MAC address"),
    ({"mac": "01:00:5e:00:00:01"}, "mac", "is a multicast address"),
    ({"mac": "53:54:00:00:00:01"}, "mac", "is a multicast address"),
    ({"mac": "FF:FF:FF:FF:FF:FF"}, "mac", "is a multicast address"),
    ({"mac": "00:00:00:00:00:00"}, "mac", "is not a MAC address that a NIC can have"),
    ({"mode": "vepa"}, "mode", "only type=direct (macvtap) has a mode"),
    ({"source": ""}, "source", "'' is not an interface name"),
    ({"source": "."}, "source", "'.' is not an interface name"),
    ({"source": ".."}, "source", "'..' is not an interface name"),
    ({"source": "../br0"}, "source", "'../br0' is not an interface name"),
    ({"source": "br 0"}, "source", "is not an interface name"),
    ({"source": "br0\n"}, "source", "is not an interface name"),
    ({"source": "br\u00e9"}, "source", "is not an interface name"),
    ({"source": "b" * 16}, "source", "has 16 bytes; an interface name has at most 15"),
    ({"ifname": "all"}, "ifname", "so no link can have it"),
    ({"ifname": "default"}, "ifname", "so no link can have it"),
    ({"source": "all"}, "source", "so no link can have it"),
    ({"ifname": "tap/0"}, "ifname", "is not an interface name"),
    ({"ifname": "tap%d"}, "ifname", "is not an interface name"),
    ({"ifname": "tap:0"}, "ifname", "is not an interface name"),
    ({"ifname": "tap\0"}, "ifname", "is not an interface name"),
    ({"ifname": "t" * 16}, "ifname", "has 16 bytes; an interface name has at most 15"),
    ({"model": ""}, "model", "'' is not a name of a qemu device"),
    ({"model": "e1000,mac=x"}, "model", "is not a name of a qemu device"),
    ({"model": "-e1000"}, "model", "is not a name of a qemu device"),
    ({"model": "e1000 "}, "model", "is not a name of a qemu device"),
    ({"queues": 0}, "queues", "0 is not between 1 and 256"),
    ({"queues": -1}, "queues", "-1 is not between 1 and 256"),
    ({"queues": 257}, "queues", "257 is not between 1 and 256"),
    ({"mtu": 67}, "mtu", "67 is not between 68 and 65535 bytes"),
    ({"mtu": 0}, "mtu", "0 is not between 68 and 65535 bytes"),
    ({"mtu": 65536}, "mtu", "65536 is not between 68 and 65535 bytes"),
    ({"mtu": 65522}, "mtu", "65522 is more than the 65521 bytes of a tap"),
    ({"model": "e1000", "queues": 2}, "queues", "e1000 can have one queue"),
    ({"model": "usb-net", "queues": 2}, "queues", "usb-net can have one queue"),
    ({"model": "e1000", "vhost": "required"}, "vhost", "e1000 cannot use vhost-net"),
]


@pytest.mark.parametrize(("given", "option", "words"), REFUSED)
@pytest.mark.parametrize("index", [0, 2])
def test_refused(given: dict[str, t.Any], option: str, words: str, index: int) -> None:
    items = [an_item(mac=f"52:54:00:00:01:0{number}") for number in range(3)]
    items[index] = an_item(**given)
    with pytest.raises(OptionError) as caught:
        parse_interfaces(items)
    assert caught.value.option == f"interfaces[{index}].{option}"
    assert str(caught.value).startswith(f"interfaces[{index}].{option}: ")
    assert words in str(caught.value)


OTHER = "52:54:00:00:00:02"

# two items, option at fault, words of the message
PAIRS: list[tuple[dict[str, t.Any], dict[str, t.Any], str, str]] = [
    ({}, {}, "interfaces[1].mac", "is given twice; interfaces[0] has it, too"),
    (
        {"mac": "52:54:00:00:00:0a"},
        {"mac": " 52:54:00:00:00:0A "},
        "interfaces[1].mac",
        "52:54:00:00:00:0a is given twice",
    ),
    (
        {"ifname": "tap0"},
        {"mac": OTHER, "ifname": "tap0"},
        "interfaces[1].ifname",
        "tap0 is given twice; interfaces[0] has it, too",
    ),
    (
        {},
        {"mac": OTHER, "ifname": "vt525400000001"},
        "interfaces[1].ifname",
        "vt525400000001 is given twice",
    ),
    (
        {"type": "direct", "source": "eth0", "mode": "passthrough"},
        {"mac": OTHER, "type": "direct", "source": "eth0", "mode": "vepa"},
        "interfaces[0].mode",
        "passthrough needs the whole device eth0, and interfaces[1] uses it, too",
    ),
    (
        {"type": "direct", "source": "eth0"},
        {"mac": OTHER, "type": "direct", "source": "eth0", "mode": "passthrough"},
        "interfaces[1].mode",
        "passthrough needs the whole device eth0, and interfaces[0] uses it, too",
    ),
]


@pytest.mark.parametrize(("first", "second", "option", "words"), PAIRS)
def test_refused_together(
    first: dict[str, t.Any], second: dict[str, t.Any], option: str, words: str
) -> None:
    parse_interfaces([an_item(**first)])
    parse_interfaces([an_item(**second)])
    with pytest.raises(OptionError) as caught:
        parse_interfaces([an_item(**first), an_item(**second)])
    assert caught.value.option == option
    assert words in str(caught.value)


# given, parsed
ACCEPTED: list[tuple[dict[str, t.Any], Interface]] = [
    ({}, an_interface()),
    ({"mac": " 52:54:00:00:00:01\n"}, an_interface()),
    (
        {"mac": "52:54:00:AB:CD:EF"},
        an_interface(mac="52:54:00:ab:cd:ef", ifname="vt525400abcdef"),
    ),
    ({"ifname": "t" * 15}, an_interface(ifname="t" * 15)),
    ({"source": "br-lan_1.20"}, an_interface(source="br-lan_1.20")),
    ({"queues": 256}, an_interface(queues=256)),
    ({"mtu": 68}, an_interface(mtu=68)),
    ({"mtu": 65521}, an_interface(mtu=65521)),
    ({"vhost": "required"}, an_interface(vhost="required")),
    ({"model": "e1000"}, an_interface(model="e1000")),
    ({"model": "e1000", "vhost": "off"}, an_interface(model="e1000", vhost="off")),
    (
        {"type": "direct", "source": "eth0"},
        an_interface(type="direct", source="eth0", mode="vepa"),
    ),
    (
        {"type": "direct", "source": "eth0", "mode": "passthrough"},
        an_interface(type="direct", source="eth0", mode="passthrough"),
    ),
]


@pytest.mark.parametrize(("given", "parsed"), ACCEPTED)
def test_accepted(given: dict[str, t.Any], parsed: Interface) -> None:
    assert parse_interfaces([an_item(**given)]) == [parsed]


def test_two_macvtaps_share_a_lower_device() -> None:
    items = [
        an_item(type="direct", source="eth0"),
        an_item(mac=OTHER, type="direct", source="eth0", mode="bridge"),
    ]
    assert [(each.option, each.mode) for each in parse_interfaces(items)] == [
        ("interfaces[0]", "vepa"),
        ("interfaces[1]", "bridge"),
    ]


@given(st.binary(min_size=6, max_size=6))
def test_any_unicast_mac_is_normalised(data: bytes) -> None:
    mac = data.hex(":")
    if data[0] & 1 or not any(data):
        with pytest.raises(OptionError):
            parse_mac("o", mac)
    else:
        assert parse_mac("o", mac) == parse_mac("o", mac.upper()) == mac


@given(st.text(max_size=20))
def test_the_message_about_a_text_that_is_no_mac_names_the_option(text: str) -> None:
    refused = ""
    try:
        assert len(bytes.fromhex(compact(parse_mac("macs[3]", text)))) == 6
    except OptionError as exc:
        refused = str(exc)
    assert not refused or refused.startswith("macs[3]: ")


@pytest.mark.parametrize(
    ("model", "virtio", "pci"),
    [
        ("virtio-net-pci", True, True),
        ("virtio-net-pci-non-transitional", True, True),
        ("e1000", False, True),
        ("usb-net", False, False),
    ],
)
def test_model(model: str, virtio: bool, pci: bool) -> None:
    interface = an_interface(model=model)
    assert (interface.is_virtio, interface.is_pci) == (virtio, pci)


def test_compact() -> None:
    assert compact(MAC) == "525400000001"


@pytest.mark.parametrize(
    ("changes", "suboption", "words"),
    [
        ({"filter": "address"}, "addresses", "needs the addresses"),
        (
            {"addresses": ["192.0.2.7"]},
            "addresses",
            "filter: none does not use addresses",
        ),
        (
            {"filter": "mac", "addresses": ["192.0.2.7"]},
            "addresses",
            "filter: mac does not use addresses",
        ),
        (
            {"filter": "address", "addresses": ["192.0.2.7/24"]},
            "addresses[0]",
            "host bits",
        ),
        (
            {
                "filter": "address",
                "addresses": [
                    f"2001:db8:1111:2222:3333:4444:5555:{number:x}"
                    for number in range(0x1000, 0x1100)
                ],
            },
            "addresses",
            "do not fit into an audit record",
        ),
        ({"vlan": {"tag": 4095}}, "vlan.tag", "1 to 4094"),
        (
            {"type": "direct", "vlan": {"tag": 4}},
            "vlan",
            "give a VLAN device as source",
        ),
        ({"type": "direct", "isolated": True}, "isolated", "only a port of a bridge"),
        ({"ifname": "vt-web"}, "ifname", "systemd"),
        ({"ifname": "vb-web"}, "ifname", "systemd"),
    ],
)
def test_the_message_about_an_impossible_network_names_the_option(
    changes: dict[str, t.Any], suboption: str, words: str
) -> None:
    with pytest.raises(OptionError, match=words) as refused:
        parse_interfaces([an_item(**changes)])
    assert refused.value.option == f"interfaces[0].{suboption}"


def test_an_interface_shows_its_network_as_in_records() -> None:
    (plain,) = parse_interfaces([an_item()])
    assert plain.network == Network("br0")
    assert not plain.network.is_prepared
    item = an_item(
        vlan={"tag": None, "trunk": ["10", "20-30"], "native": 10},
        filter="address",
        addresses=["2001:db8::7", "192.0.2.7"],
        isolated=True,
        link="down",
        mtu=9000,
    )
    (full,) = parse_interfaces([item])
    assert full.network == Network(
        source="br0",
        vlan="trunk:20-30,native:10",
        filter="address",
        addresses="192.0.2.7,2001:db8::7",
        isolated="yes",
        link="down",
        mtu="9000",
    )
    assert full.network.is_prepared
