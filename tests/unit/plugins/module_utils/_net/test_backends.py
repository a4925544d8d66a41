# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decisions of back ends.

The target vm_net_filter and the virtual hypervisors show that the kernel carries them out.
"""

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LinkError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    link,
    ovs_port,
    port,
    port_vlan,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.backends import (
    backend_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter import table
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)

MAC = "52:54:00:00:00:01"


@pytest.fixture(name="macvtap", autouse=True)
def fixture_macvtap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a macvtap vt0 of index 12 on eth0, whose MAC is still eth0's."""
    monkeypatch.setattr(
        sysfs, "macvtap_rdev", lambda name: "246:1" if name == "vt0" else None
    )
    monkeypatch.setattr(sysfs, "ifindex", lambda name: 12)
    monkeypatch.setattr(sysfs, "name_of", {12: "vt0"}.get)
    monkeypatch.setattr(sysfs, "lower", lambda name: "eth0")
    monkeypatch.setattr(sysfs, "address", lambda name: "02:00:00:00:00:09")


@pytest.mark.parametrize(
    ("ifname", "ifindex", "source", "left"),
    [
        ("vt0", 12, "eth0", True),
        # Nobody noted the index, because the task was cut off before the first open.
        ("vt0", None, "eth0", True),
        # Another link with the same name.
        ("vt0", 11, "eth0", False),
        ("vt0", None, "eth1", False),
        ("vt1", None, "eth0", False),
    ],
)
def test_a_macvtap_that_is_left_is_recognised(
    ifname: str, ifindex: int | None, source: str, left: bool
) -> None:
    found = NicLink(ifname, ifindex, MAC, Network(source))
    assert backend_of("direct").remains(found) is left


def test_a_tap_leaves_nothing_without_a_filter() -> None:
    found = NicLink("vt0", 12, MAC, Network("br0", vlan="42", isolated="yes"))
    assert found.rights is None
    assert not backend_of("bridge").remains(found)


def test_the_rights_of_a_filter_follow_from_the_network() -> None:
    network = Network(
        "br0", vlan="trunk:10,20", filter="address", addresses="192.0.2.7,2001:db8::/64"
    )
    rights = NicLink("vt0", 12, MAC, network).rights
    assert rights is not None
    assert (rights.ifindex, rights.mac, rights.level) == (12, MAC, "address")
    assert rights.trunk
    assert [str(each) for each in rights.addresses] == [
        "192.0.2.7/32",
        "2001:db8::/64",
    ]


@pytest.mark.parametrize(
    ("up", "stp", "state", "ifname", "words"),
    [
        (True, False, None, None, None),
        (False, False, None, None, "bridge br0 is down"),
        (True, True, None, None, "silent for 30 s"),
        (True, True, "listening", "vt0", "has the port vt0 listening"),
        (True, True, "forwarding", "vt0", None),
    ],
)
def test_a_bridge_that_passes_no_frames_gives_a_warning(
    monkeypatch: pytest.MonkeyPatch,
    up: bool,
    stp: bool,
    state: str | None,
    ifname: str | None,
    words: str | None,
) -> None:
    monkeypatch.setattr(sysfs, "is_bridge", lambda name: True)
    monkeypatch.setattr(sysfs, "is_up", lambda name: up)
    monkeypatch.setattr(sysfs, "has_stp", lambda name: stp)
    monkeypatch.setattr(sysfs, "forward_delay", lambda name: 15.0)
    monkeypatch.setattr(sysfs, "port_state", lambda name: state)
    said = backend_of("bridge").complaints("br0", ifname)
    wanted = [] if words is None else [True]
    assert [str(words) in each for each in said] == wanted


def test_a_macvtap_cannot_move() -> None:
    before, after = Network("eth0"), Network("eth1")
    with pytest.raises(LinkError, match="cannot move to eth1"):
        backend_of("direct").update(NicLink("vt0", 12, MAC, before), after)


@pytest.mark.parametrize("kind", ["bridge", "direct", "openvswitch"])
@pytest.mark.parametrize("after", ["down", None])
def test_a_quarantine_comes_before_everything_else(
    monkeypatch: pytest.MonkeyPatch, kind: str, after: str | None
) -> None:
    """A filter that goes in the same update must not go while the link is up, and one that fails must not keep it up."""
    taken: list[str] = []

    def refuse(*given: object) -> None:
        raise LinkError("nftables refused the filter, or the switch does not answer")

    monkeypatch.setattr(sysfs, "is_up", lambda name: True)
    monkeypatch.setattr(sysfs, "master", lambda name: "eth0")
    monkeypatch.setattr(link, "take_down", taken.append)
    monkeypatch.setattr(ovs_port, "read", refuse)
    backend = backend_of(kind)
    for step in ("_set_filter", "_set_port"):
        monkeypatch.setattr(type(backend), step, refuse)
    before = NicLink("vt0", 12, MAC, Network("eth0", filter="mac"))
    with pytest.raises(LinkError, match="nftables refused"):
        backend.update(before, Network("eth0", link=after))
    assert taken == (["vt0"] if after else [])


PLAIN = Network("br0")
APART = Network("br0", vlan="42", filter="mac", isolated="yes")


@pytest.mark.parametrize(
    ("before", "rules", "flags", "default", "words"),
    [
        (PLAIN, True, False, False, []),
        (APART, False, True, True, []),
        (APART, True, True, True, ["filter"]),
        (APART, False, False, True, ["flags"]),
        (APART, False, True, False, ["VLAN"]),
        (Network("br0", isolated="yes"), True, False, False, ["flags"]),
        (Network("br0", filter="mac"), True, False, False, ["filter", "flags"]),
    ],
)
def test_remains_of_an_earlier_network_are_reported(
    monkeypatch: pytest.MonkeyPatch,
    before: Network,
    rules: bool,
    flags: bool,
    default: bool,
    words: list[str],
) -> None:
    new = port.PortFlags(False, False)
    monkeypatch.setattr(sysfs, "has_stp", lambda name: False)
    monkeypatch.setattr(table, "there", lambda family, each: each if rules else [])
    monkeypatch.setattr(port, "read", lambda name, mac: new if flags else None)
    monkeypatch.setattr(port_vlan, "is_default", lambda name, bridge: default)
    link = NicLink("vt0", 12, MAC, before)

    left = backend_of("bridge").left_of(link.on(PLAIN), link)

    assert [word in said for word, said in zip(words, left)] == [True] * len(left)
    assert len(left) == len(words)
    assert backend_of("bridge").left_of(link, link) == []
