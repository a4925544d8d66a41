# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.addresses import (
    link_local,
    parse_addresses,
    texts,
)

OPTION = "interfaces[0].addresses"


def test_both_families_addresses_and_networks_are_read_in_order() -> None:
    items = ["2001:db8::7", "192.0.2.7", " 198.51.100.0/24 ", "192.0.2.7/32"]

    found = parse_addresses(OPTION, items)

    assert texts(found) == ["192.0.2.7", "198.51.100.0/24", "2001:db8::7"]


def test_an_address_within_a_listed_network_is_left_out() -> None:
    items = [
        "192.0.2.7",
        "192.0.2.0/24",
        "192.0.2.128/25",
        "2001:db8::/32",
        "2001:db8::1",
    ]

    assert texts(parse_addresses(OPTION, items)) == ["192.0.2.0/24", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("192.0.2.7/24", "host bits.*192.0.2.7.*192.0.2.0/24"),
        ("2001:db8::7/64", "host bits"),
        ("web01", "neither an IP address"),
        ("192.0.2.256", "neither an IP address"),
        ("", "neither an IP address"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "not an address that a NIC"),  # noqa: S104
        ("::", "not an address that a NIC"),
        ("127.0.0.1", "not an address that a NIC"),
    ],
)
def test_the_message_about_a_bad_address_names_the_option(
    item: t.Any, words: t.Any
) -> None:
    with pytest.raises(OptionError, match=words) as refused:
        parse_addresses(OPTION, ["192.0.2.9", item])

    assert refused.value.option == f"{OPTION}[1]"


def test_a_thousand_addresses_are_refused() -> None:
    items = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(1000)]

    with pytest.raises(OptionError, match="1000 addresses are more than") as refused:
        parse_addresses(OPTION, items)

    assert refused.value.option == OPTION


def test_the_link_local_address_is_made_of_the_mac() -> None:
    assert str(link_local("52:54:00:12:34:56")[0]) == "fe80::5054:ff:fe12:3456"
