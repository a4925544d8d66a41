# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.port_vlan import (
    PortVlans,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.vlan import (
    Vlan,
    parse_text,
    parse_vlan,
)

OPTION = "interfaces[0].vlan"


@pytest.mark.parametrize(
    ("value", "expected", "text"),
    [
        ({"tag": 1}, Vlan(1), "1"),
        ({"tag": 4094}, Vlan(4094), "4094"),
        ({"trunk": ["10"]}, Vlan(None, ((10, 10),)), "trunk:10"),
        ({"trunk": [10, "20-30"]}, Vlan(None, ((10, 10), (20, 30))), "trunk:10,20-30"),
        ({"trunk": ["20-25", "22-30"]}, Vlan(None, ((20, 30),)), "trunk:20-30"),
        (
            {"trunk": ["5", "10-12"], "native": 5},
            Vlan(5, ((10, 12),)),
            "trunk:10-12,native:5",
        ),
        (
            {"trunk": ["10-12"], "native": 11},
            Vlan(11, ((10, 10), (12, 12))),
            "trunk:10,12,native:11",
        ),
        ({"trunk": ["1-4094"]}, Vlan(None, ((1, 4094),)), "trunk:1-4094"),
    ],
)
def test_vlans_are_read_and_written(value: t.Any, expected: t.Any, text: t.Any) -> None:
    vlan = parse_vlan(OPTION, value)

    assert vlan == expected
    assert str(vlan) == text
    assert parse_text(text) == expected


@pytest.mark.parametrize(
    ("value", "option", "words"),
    [
        ({"tag": 0}, f"{OPTION}.tag", "1 to 4094"),
        ({"tag": 4095}, f"{OPTION}.tag", "1 to 4094"),
        ({"tag": -1}, f"{OPTION}.tag", "1 to 4094"),
        ({"trunk": ["0"]}, f"{OPTION}.trunk[0]", "1 to 4094"),
        ({"trunk": ["10", "4000-4095"]}, f"{OPTION}.trunk[1]", "1 to 4094"),
        ({"trunk": ["30-20"]}, f"{OPTION}.trunk[0]", "is in the wrong order"),
        ({"trunk": ["ten"]}, f"{OPTION}.trunk[0]", "neither a tag"),
        ({"trunk": ["1,2"]}, f"{OPTION}.trunk[0]", "neither a tag"),
        ({"trunk": ["\u0661"]}, f"{OPTION}.trunk[0]", "neither a tag"),
        ({"trunk": ["10"], "native": 11}, f"{OPTION}.native", "not among"),
        ({"trunk": ["10"], "native": 0}, f"{OPTION}.native", "1 to 4094"),
        ({"trunk": ["10"], "native": 10}, f"{OPTION}.trunk", "use tag: 10"),
        ({"trunk": [*range(1, 4094, 2)]}, f"{OPTION}.trunk", "do not fit into an"),
        ({"native": 10}, f"{OPTION}.native", "give trunk"),
        ({"tag": 10, "trunk": ["11"]}, f"{OPTION}.trunk", "either a tag"),
        ({"tag": 10, "native": 10}, f"{OPTION}.native", "either a tag"),
        ({"trunk": []}, OPTION, "give tag"),
        ({}, OPTION, "give tag"),
    ],
)
def test_the_message_about_bad_vlans_names_the_option(
    value: t.Any, option: t.Any, words: t.Any
) -> None:
    with pytest.raises(OptionError, match=words) as refused:
        parse_vlan(OPTION, value)

    assert refused.value.option == option


def test_no_vlan_is_none() -> None:
    assert parse_vlan(OPTION, None) is None


@pytest.mark.parametrize("text", ["", "x", "trunk:", "trunk:1;2", "native:5", "10,20"])
def test_a_text_that_names_no_vlans_gives_no_vlan(text: t.Any) -> None:
    assert parse_text(text) is None


@pytest.mark.parametrize(
    ("pvid", "vids", "text"),
    [
        (42, {42: True}, "42"),
        (None, {10: False, 11: False}, "trunk:10-11"),
        (5, {5: True, 10: False}, "trunk:10,native:5"),
        (None, {}, "none"),
        # Somebody changed the port by hand: two VLANs leave without a tag, or incoming frames go to another VLAN.
        (42, {7: True, 42: True}, "7-untagged,42-untagged-PVID"),
        (42, {42: False}, "42-PVID"),
    ],
)
def test_the_vlan_of_a_port_is_written_as_in_records(
    pvid: t.Any, vids: t.Any, text: t.Any
) -> None:
    assert str(PortVlans(pvid, vids)) == text


def test_a_port_matches_only_its_own_vlan() -> None:
    trunk = Vlan(5, ((10, 11),))
    assert PortVlans(5, {5: True, 10: False, 11: False}).matches(trunk)
    assert not PortVlans(5, {1: True, 5: True, 10: False, 11: False}).matches(trunk)
    assert not PortVlans(None, {5: True, 10: False, 11: False}).matches(trunk)
    assert not PortVlans(5, {5: False, 10: False, 11: False}).matches(trunk)
