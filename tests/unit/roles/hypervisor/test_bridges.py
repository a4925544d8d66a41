# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.roles.hypervisor.files import bridges

UP = ["BROADCAST", "UP"]
MAC = "02:00:00:00:00:01"


def link(name: str, kind: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    """Return the answer of ``ip -json -details address show`` about a link."""
    given = more.pop("addresses", [])
    info = more.pop("info", {})
    entries = [a.split("/") for a in given]
    return {
        "ifname": name,
        "flags": UP,
        "mtu": 1500,
        "address": MAC,
        "inet6_addr_gen_mode": "none",
        "linkinfo": {"info_kind": kind, "info_data": info} if kind else {},
        "addr_info": [
            {
                "local": local,
                "prefixlen": int(length),
                "scope": "link" if local.startswith("fe80") else "global",
            }
            for local, length in entries
        ],
        **more,
    }


def mine(name: str, kind: str | None = "bridge", **more: t.Any) -> dict[str, t.Any]:
    """Return a link that the role made where networkd does not run."""
    return link(name, kind, ifalias=bridges.MARK, **more)


@pytest.fixture
def host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> t.Callable[..., bridges.Bridges]:
    monkeypatch.setattr(bridges, "NETWORK", tmp_path)
    monkeypatch.setattr(bridges, "IPV6", True)

    def look(
        wanted: list[dict[str, t.Any]],
        *there: dict[str, t.Any],
        networkd: bool = False,
        takes: bool = False,
        routes: tuple[str, ...] = (),
        files: t.Mapping[str, str] | None = None,
    ) -> bridges.Bridges:
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        monkeypatch.setattr(bridges, "links", lambda: {i["ifname"]: i for i in there})
        monkeypatch.setattr(bridges, "takes_advertisements", lambda _name: takes)
        monkeypatch.setattr(bridges, "advertised_routes", lambda _name: list(routes))
        macs = [{"mac": MAC, **bridge} for bridge in wanted]
        found = bridges.Bridges(macs, networkd)
        found.check()
        return found

    return look


def test_a_new_bridge(host: t.Callable[..., bridges.Bridges]) -> None:
    found = host(
        [{"name": "br0", "mtu": 9000, "addresses": ["192.0.2.1/24"], "ports": ["p0"]}],
        link("p0", flags=["BROADCAST"]),
    )
    assert found.problems == []
    assert found.commands("br0") == [
        f"link add name br0 address {MAC} type bridge",
        "link set dev br0 alias virtaudit.qemu",
        "link set dev br0 addrgenmode none",
        "echo 0 >/proc/sys/net/ipv6/conf/br0/accept_ra",
        "link set dev br0 mtu 9000",
        "link set dev br0 up",
        "address add 192.0.2.1/24 dev br0",
        "link set dev p0 mtu 9000",
        "link set dev p0 master br0",
        "link set dev p0 alias virtaudit.qemu",
        "link set dev p0 up",
    ]


def test_a_bridge_without_differences(host: t.Callable[..., bridges.Bridges]) -> None:
    found = host(
        [{"name": "br0", "addresses": ["2001:DB8::1/64"], "ports": ["p0"]}],
        mine("br0", addresses=["2001:db8::1/64", "fe80::1/64"]),
        mine("p0", None, master="br0"),
        link("vt525400000001", "tun", master="br0"),
    )
    assert (found.problems, found.removals(), found.commands("br0")) == ([], [], [])


def test_a_link_local_address(host: t.Callable[..., bridges.Bridges]) -> None:
    wanted = [{"name": "br0", "addresses": ["fe80::1/64"]}]
    add = "address add fe80::1/64 dev br0"
    assert host(wanted, mine("br0")).commands("br0") == [add]
    there = mine("br0", addresses=["fe80::1/64"])
    assert host(wanted, there).commands("br0") == []


def test_a_new_bridge_with_vlans(host: t.Callable[..., bridges.Bridges]) -> None:
    found = host([{"name": "br0", "vlan_filtering": True, "default_pvid": 0}])
    line = f"link add name br0 address {MAC} type bridge vlan_default_pvid 0 vlan_filtering 1"
    assert found.commands("br0")[0] == line


@pytest.mark.parametrize("networkd", [True, False])
def test_values_of_a_bridge_that_networkd_does_not_change(
    host: t.Callable[..., bridges.Bridges], networkd: bool
) -> None:
    wanted = {"name": "br0", "vlan_filtering": True, "default_pvid": 7}
    files = {"50-virtaudit-br0.netdev": "[NetDev]\nName=br0\n"} if networkd else {}
    info = {"vlan_filtering": 0, "vlan_default_pvid": 1}
    there = mine("br0", info=info, address="fe:00:00:00:00:09")
    found = host([wanted], there, networkd=networkd, files=files)
    assert found.settings("br0") == [
        f"link set dev br0 address {MAC}",
        "link set dev br0 type bridge vlan_default_pvid 7",
        "link set dev br0 type bridge vlan_filtering 1",
    ]
    assert found.commands("br0") == found.settings("br0")


def test_a_router_advertisement_of_a_guest(
    host: t.Callable[..., bridges.Bridges],
) -> None:
    found = host(
        [{"name": "br0"}],
        mine("br0", addresses=["2001:db8:bad::5/64"]),
        takes=True,
        routes=("default via fe80::9", "2001:db8:bad::/64"),
    )
    assert found.commands("br0") == [
        "echo 0 >/proc/sys/net/ipv6/conf/br0/accept_ra",
        "-6 route delete default via fe80::9 dev br0 proto ra",
        "-6 route delete 2001:db8:bad::/64 dev br0 proto ra",
        "address delete 2001:db8:bad::5/64 dev br0",
    ]


def test_an_mtu_that_a_port_cannot_have(
    host: t.Callable[..., bridges.Bridges],
) -> None:
    wanted = [{"name": "br0", "mtu": 9000, "ports": ["p0"]}]
    (problem,) = host(wanted, link("p0", max_mtu=1500)).problems
    assert "mtu: p0 can have an MTU of 1500 at most" in problem
    assert host(wanted, link("p0", max_mtu=0)).problems == []


def test_a_new_bridge_of_open_vswitch(host: t.Callable[..., bridges.Bridges]) -> None:
    wanted = {
        "name": "ovs0",
        "type": "openvswitch",
        "mtu": 1400,
        "addresses": ["192.0.2.1/24"],
        "ports": ["p0"],
    }
    found = host([wanted], link("p0", flags=["BROADCAST"]))
    assert found.problems == []
    # Open vSwitch itself makes the bridge and gives it its MAC address, its MTU and its port.
    assert found.commands("ovs0") == [
        "link set dev ovs0 addrgenmode none",
        "echo 0 >/proc/sys/net/ipv6/conf/ovs0/accept_ra",
        "link set dev ovs0 up",
        "address add 192.0.2.1/24 dev ovs0",
        "link set dev p0 mtu 1400",
        "link set dev p0 up",
    ]


def test_a_bridge_of_open_vswitch_without_differences(
    host: t.Callable[..., bridges.Bridges],
) -> None:
    files = {
        "50-virtaudit-ovs0.network": "[Match]\nName=ovs0\n",
        "50-virtaudit-ovs0@p0.network": "[Match]\nName=p0\n",
    }
    there = link("ovs0", "openvswitch"), link("p0", master="ovs-system")
    wanted = {"name": "ovs0", "type": "openvswitch", "ports": ["p0"]}
    found = host([wanted], *there, networkd=True, files=files)
    assert (found.problems, found.commands("ovs0"), found.removals()) == ([], [], [])
    assert found.stale_files() == []
    # The bridge is no longer wanted, and this code removes only its files.
    found = host([], *there, networkd=True, files=files)
    assert (found.problems, found.removals()) == ([], [])
    assert len(found.stale_files()) == len(files)


def test_a_bridge_that_is_no_longer_wanted(
    host: t.Callable[..., bridges.Bridges],
) -> None:
    found = host(
        [{"name": "br0"}],
        mine("br0", addresses=["192.0.2.1/24"]),
        mine("p0", None, master="br0"),
        mine("br1"),
        link("docker0", "bridge"),
    )
    assert found.problems == []
    assert found.removals() == [
        "link set dev p0 nomaster",
        'link set dev p0 alias ""',
        "link delete dev br1",
    ]
    assert found.commands("br0") == ["address delete 192.0.2.1/24 dev br0"]


def test_an_address_that_the_kernel_may_delete_together_with_another(
    host: t.Callable[..., bridges.Bridges],
) -> None:
    kept = ["192.0.2.2/24", "198.51.100.1/24", "2001:db8::2/64"]
    there = mine("br0", addresses=["192.0.2.1/24", "2001:db8::1/64", *kept])
    found = host([{"name": "br0", "mac": MAC, "addresses": kept}], there)
    assert found.commands("br0") == [
        "address delete 192.0.2.1/24 dev br0",
        "address delete 2001:db8::1/64 dev br0",
        "address replace 192.0.2.2/24 dev br0",
    ]


def test_a_port_that_moves(host: t.Callable[..., bridges.Bridges]) -> None:
    found = host(
        [{"name": "br0"}, {"name": "br1", "ports": ["p0"]}],
        mine("br0"),
        mine("br1"),
        mine("p0", None, master="br0"),
    )
    assert found.problems == []
    assert found.removals() == ["link set dev p0 nomaster"]
    assert found.commands("br1") == ["link set dev p0 master br1"]


def test_networkd(host: t.Callable[..., bridges.Bridges]) -> None:
    files = {
        "50-virtaudit-br0.netdev": "[NetDev]\nName=br0\nKind=bridge\n",
        "50-virtaudit-br0.network": "[Match]\nName=br0\n",
        "50-virtaudit-br0@p0.network": "[Match]\nName=p0\n[Network]\nBridge=br0\n",
    }
    there = link("br0", "bridge"), link("p0", master="br0")
    found = host([{"name": "br0"}], *there, networkd=True, files=files)
    assert (found.problems, found.commands("br0")) == ([], [])
    assert [Path(path).name for path in found.stale_files()] == [
        "50-virtaudit-br0@p0.network"
    ]
    assert found.removals()[0] == "link set dev p0 nomaster"
    # If networkd no longer runs, the role itself maintains the bridge.
    found = host([{"name": "br0"}], *there)
    assert len(found.stale_files()) == len(files)
    assert found.commands("br0") == ["link set dev br0 alias virtaudit.qemu"]


@pytest.mark.parametrize(
    ("wanted", "there", "why"),
    [
        ({"name": "br0"}, [link("br0", "bridge")], "did not make"),
        ({"name": "p0"}, [link("p0")], "no bridge"),
        (
            {"name": "br0", "type": "openvswitch"},
            [mine("br0")],
            "no bridge of Open vSwitch's",
        ),
        (
            {"name": "br0", "ports": ["p0"]},
            [link("p0", master="ovs-system")],
            "p0 is a port of ovs-system",
        ),
        ({"name": "br0", "ports": ["p0"]}, [], "no link p0"),
        (
            {"name": "br0", "ports": ["p0"]},
            [link("p0", addresses=["192.0.2.9/24"])],
            "192.0.2.9/24",
        ),
        (
            {"name": "br0", "ports": ["p0"]},
            [link("p0", master="other")],
            "port of other",
        ),
        ({"name": "br0", "ports": ["x"]}, [link("x", "bridge")], "cannot be a port"),
        (
            {"name": "br0"},
            [mine("br1"), link("vt525400000001", "tun", master="br1")],
            "vt525400000001 are ports of it",
        ),
    ],
)
def test_a_bridge_that_the_host_cannot_have(
    host: t.Callable[..., bridges.Bridges],
    wanted: dict[str, t.Any],
    there: list[dict[str, t.Any]],
    why: str,
) -> None:
    (problem,) = host([wanted], *there).problems
    assert why in problem


def test_links_that_cannot_be_seen_yet(
    host: t.Callable[..., bridges.Bridges], monkeypatch: pytest.MonkeyPatch
) -> None:
    host([])
    monkeypatch.setattr(bridges, "links", lambda: None)
    found = bridges.Bridges(
        [{"name": "br0", "mac": MAC, "ports": ["eth1"]}], networkd=True
    )
    found.check()
    assert (found.blind, found.problems) == (True, [])
