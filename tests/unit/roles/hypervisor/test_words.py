# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.roles.hypervisor.files import words


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ([{"name": ""}], "not a name of a link"),
        ([{"name": "sixteen-bytes-xx"}], "not a name of a link"),
        ([{"name": "a/b"}], "not a name of a link"),
        ([{"name": "a b"}], "not a name of a link"),
        ([{"name": "br0\n"}], "not a name of a link"),
        ([{"name": ".."}], "not a name of a link"),
        ([{"name": "br*"}], "not a name of a link"),
        ([{"name": "12"}], "not a name of a link"),
        # The kernel refuses these two.
        ([{"name": "all"}], "not a name of a link"),
        ([{"name": "default"}], "not a name of a link"),
        ([{"name": "brü"}], "not a name of a link"),
        ([{"name": "br0", "ports": ["%s"]}], "not a name of a link"),
        ([{"name": "br0"}, {"name": "br0"}], "twice"),
        ([{"name": "br0", "ports": ["p0"]}, {"name": "p0"}], "twice"),
        ([{"name": "br0", "mtu": 0}], "68 to 65535"),
        ([{"name": "br0", "default_pvid": 4095}], "0 to 4094"),
        ([{"name": "br0", "mac": "01:00:5e:00:00:01"}], "not a MAC address"),
        ([{"name": "br0", "mac": "02:00:00:00:00"}], "not a MAC address"),
        ([{"name": "br0", "mac": "02:00:00:00:00:01\n"}], "not a MAC address"),
        ([{"name": "br0", "addresses": ["192.0.2.1"]}], "not an address"),
        ([{"name": "br0", "addresses": ["192.0.2.1/255.255.255.0"]}], "not an address"),
        ([{"name": "br0", "addresses": ["192.0.2.1/33"]}], "not an address"),
    ],
)
def test_words(wanted: list[dict[str, t.Any]], why: str) -> None:
    (problem,) = words.check_words(wanted)
    assert why in problem


def test_good_words() -> None:
    wanted: list[dict[str, t.Any]] = [{"name": "default0"}]
    wanted += [{"name": "fifteen-bytes.x", "mtu": 68, "addresses": ["::1/128"]}]
    assert words.check_words(wanted) == []


def test_an_option_that_is_null_is_not_given() -> None:
    names = ("type", "mtu", "vlan_filtering", "default_pvid", "addresses", "ports")
    given = {"name": "br0", "mac": "02:00:00:00:00:01"}
    # The templates of the role ask whether an option is defined.
    assert words.typed({**dict.fromkeys(names), **given}) == given
    assert words.complete(given) == {**given, "type": "bridge"}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"mtu": "9000"}, {"mtu": 9000}),
        ({"mtu": "9000.0"}, {"mtu": 9000}),
        ({"mtu": "9e3", "default_pvid": 7.0}, {"mtu": 9000, "default_pvid": 7}),
        ({"default_pvid": "0"}, {"default_pvid": 0}),
        ({"vlan_filtering": "yes"}, {"vlan_filtering": True}),
        ({"vlan_filtering": "False"}, {"vlan_filtering": False}),
        ({"vlan_filtering": False}, {"vlan_filtering": False}),
        ({"vlan_filtering": 1}, {"vlan_filtering": True}),
        ({"ports": "eth1, eth2"}, {"ports": ["eth1", "eth2"]}),
        ({"addresses": ["::1/128"]}, {"addresses": ["::1/128"]}),
        ({"addresses": "", "ports": " "}, {"addresses": [], "ports": []}),
        ({"ports": 7.5}, {"ports": ["7.5"]}),
    ],
)
def test_a_text_is_as_good_as_a_value(
    given: dict[str, t.Any], value: dict[str, t.Any]
) -> None:
    typed = words.typed({"name": 42, **given})
    assert typed == {"name": "42", **value}
    (problem,) = words.check_words([typed])
    assert "'42' is not a name of a link" in problem


def test_a_bridge_needs_a_name() -> None:
    (problem,) = words.check_words([words.typed({"name": None})])
    assert "'' is not a name of a link" in problem


def test_a_mac_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "machine_id", lambda: "a" * 32)
    mac = words.pinned_mac({"name": "br0"})
    assert mac == words.pinned_mac({"name": "br0", "mtu": 9000})
    assert words.check_words([{"name": "br0", "mac": mac}]) == []
    assert mac != words.pinned_mac({"name": "br1"})
    monkeypatch.setattr(words, "machine_id", lambda: "b" * 32)
    assert mac != words.pinned_mac({"name": "br0"})
    assert (
        words.pinned_mac({"name": "br0", "mac": "02:AA:00:00:00:01"})
        == "02:aa:00:00:00:01"
    )


@pytest.mark.parametrize("text", [None, "", "uninitialized\n"])
def test_a_host_without_a_machine_id(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "machine-id"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(words, "Path", lambda _path: path)
    assert words.machine_id() == ""
    wanted = [{"name": "br0"}, {"name": "br1", "mac": "02:00:00:00:00:01"}]
    (problem,) = words.check_machine_id(wanted)
    assert "br0: mac: this host has no machine id" in problem
    path.write_text("0123456789abcdef" * 2 + "\n", encoding="utf-8")
    assert words.check_machine_id(wanted) == []


def test_vlans_of_a_bridge_of_open_vswitch() -> None:
    wanted = {"name": "ovs0", "type": "openvswitch", "vlan_filtering": True}
    (problem,) = words.check_words([wanted])
    assert "ovs0: vlan_filtering: a bridge of Open vSwitch always" in problem
