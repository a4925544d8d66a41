# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The NICs that a VM has, and how they differ from what a task asks for."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    holdings,
    link,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import (
    FrontEnd,
    Inventory,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.differences import (
    details,
    differences,
    move_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import (
    Nic,
    nameless,
    observe_nics,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    a_nic_note,
    a_note,
    an_interface,
    macvtap,
    tun,
    vhost,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

IFNAME = "vt525400000001"
NETDEV = "hostnet-525400000001"
FRONT_END = FrontEnd("/p/net", "virtio-net-pci", MAC, NETDEV)


@pytest.fixture(autouse=True)
def fixture_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host where every link exists: taps on br0, macvtaps in mode vepa on eth0, MTU 1500."""
    monkeypatch.setattr(sysfs, "exists", lambda name: True)
    monkeypatch.setattr(sysfs, "master", lambda name: "br0")
    monkeypatch.setattr(sysfs, "lower", lambda name: "eth0")
    monkeypatch.setattr(sysfs, "mtu", lambda name: 1500)
    monkeypatch.setattr(sysfs, "is_up", lambda name: True)
    monkeypatch.setattr(sysfs, "address", lambda name: None)
    monkeypatch.setattr(link, "macvtap_mode", lambda name: "vepa")


def a_nic(**changes: t.Any) -> Nic:
    given: dict[str, t.Any] = {
        "mac": MAC,
        "front_end": FRONT_END,
        "netdev": NETDEV,
        "devices": [tun(31)],
        "note": a_nic_note(devices=[tun(31)]),
    }
    return Nic(**{**given, **changes})


FOREIGN: dict[str, t.Any] = {"note": None, "devices": [tun(31, "vnet0")]}
MACVTAP: dict[str, t.Any] = {"devices": [macvtap(31)]}
DIRECT: dict[str, t.Any] = {"type": "direct", "source": "eth0", "mode": "vepa"}

# the NIC, the interface of the task, the differences
CASES: list[tuple[dict[str, t.Any], dict[str, t.Any], list[str]]] = [
    ({}, {}, []),
    ({}, {"source": "br1"}, ["source is br0, and the task asks for br1"]),
    ({}, {"model": "e1000"}, ["model is virtio-net-pci, and the task asks for e1000"]),
    ({}, {"queues": 2}, ["queues is 1, and the task asks for 2"]),
    ({"devices": [tun(31), tun(32)]}, {"queues": 2}, []),
    ({}, {"ifname": "tap0"}, [f"ifname is {IFNAME}, and the task asks for tap0"]),
    ({}, {"mtu": 1500}, []),
    ({}, {"mtu": 9000}, ["mtu is 1500, and the task asks for 9000"]),
    ({}, {"vhost": "off"}, []),
    ({}, {"vhost": "required"}, ["vhost is off, and the task asks for on"]),
    ({"devices": [tun(31), vhost(32)]}, {}, []),
    ({"devices": [tun(31), vhost(32)]}, {"vhost": "required"}, []),
    (
        {"devices": [tun(31), vhost(32)]},
        {"vhost": "off"},
        ["vhost is on, and the task asks for off"],
    ),
    (
        {},
        DIRECT,
        [
            "type is bridge, and the task asks for direct",
            "source is br0, and the task asks for eth0",
        ],
    ),
    (MACVTAP, DIRECT, []),
    (
        MACVTAP,
        {**DIRECT, "mode": "bridge"},
        ["mode is vepa, and the task asks for bridge"],
    ),
    (
        MACVTAP,
        {**DIRECT, "source": "eth1"},
        ["source is eth0, and the task asks for eth1"],
    ),
    (FOREIGN, {}, []),
    (FOREIGN, {"vhost": "required"}, []),
    (FOREIGN, {"vhost": "off"}, []),
    (FOREIGN, {"ifname": "tap0"}, ["ifname is vnet0, and the task asks for tap0"]),
    (FOREIGN, {"source": "br1"}, ["source is br0, and the task asks for br1"]),
    (
        {"front_end": None},
        {"source": "br1"},
        ["the guest has released it, and qemu still holds its devices"],
    ),
    (
        {"devices": []},
        {"source": "br1"},
        ["its host side is closed, and the guest has not released it"],
    ),
    (
        {"note": a_nic_note(pending=True)},
        {"source": "br1"},
        ["a detach is pending: the guest was asked to release it"],
    ),
]


@pytest.mark.parametrize(("nic", "asked", "words"), CASES)
def test_differences(
    nic: dict[str, t.Any], asked: dict[str, t.Any], words: list[str]
) -> None:
    assert differences(an_interface(**asked), a_nic(**nic)) == words


# the link's MAC, the NIC, the interface of the task, and the MAC that the link should have
HWADDRS: list[tuple[str, dict[str, t.Any], dict[str, t.Any], str | None]] = [
    ("fe:54:00:00:00:01", {}, {}, None),
    ("02:00:00:00:00:09", {}, {}, "fe:54:00:00:00:01"),
    ("02:00:00:00:00:09", FOREIGN, {}, None),
    (MAC, MACVTAP, DIRECT, None),
    ("02:00:00:00:00:09", MACVTAP, DIRECT, MAC),
]


@pytest.mark.parametrize(("found", "nic", "asked", "right"), HWADDRS)
def test_a_link_whose_mac_was_overwritten_gets_it_back(
    monkeypatch: pytest.MonkeyPatch,
    found: str,
    nic: dict[str, t.Any],
    asked: dict[str, t.Any],
    right: str | None,
) -> None:
    monkeypatch.setattr(sysfs, "address", lambda name: found)
    wanted, have = an_interface(**asked), a_nic(**nic)

    words = [f"hwaddr is {found}, and the task asks for {right}"] if right else []
    assert differences(wanted, have) == words
    move = move_of(wanted, have)
    assert move is not None
    assert move.after.hwaddr == right


def test_a_mac_that_was_restored_is_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = "fe:54:00:00:00:01"
    monkeypatch.setattr(sysfs, "address", lambda name: own)
    note = a_nic_note(devices=[tun(31)])
    note.put_on(Network("br0", hwaddr=own))

    assert differences(an_interface(), a_nic(note=note)) == []


# whether this collection made the NIC, what the task asks for, and the differences
SWITCHED: list[tuple[bool, dict[str, t.Any], list[str]]] = [
    (False, {}, []),
    (False, {"link": "down"}, ["link is up, and the task asks for down"]),
    (
        False,
        {"port_profile": "db"},
        ["port_profile is web, and the task asks for db"],
    ),
    (
        True,
        {},
        [
            "vlan is 42, and the task asks for None",
            "isolated is yes, and the task asks for no",
            "port_profile is web, and the task asks for None",
        ],
    ),
]


@pytest.mark.parametrize(("made", "asked", "words"), SWITCHED)
def test_what_another_program_has_set_in_the_switch_stays(
    made: bool, asked: dict[str, t.Any], words: list[str]
) -> None:
    have = a_nic() if made else a_nic(**FOREIGN)
    have.network = Network("br0", vlan="42", isolated="yes", port_profile="web")
    wanted = an_interface(**asked)
    assert differences(wanted, have) == words
    move = move_of(wanted, have)
    assert move is not None
    assert move.after.vlan == (None if made else "42")
    assert move.after.isolated == (None if made else "yes")


# whether the host's side is up, what the task asks for, and the differences
QUARANTINES: list[tuple[bool, str, list[str]]] = [
    (False, "down", []),
    (False, "up", ["link is down, and the task asks for up"]),
    (True, "down", ["link is up, and the task asks for down"]),
    # Somebody brought it up by hand, and the guest has no carrier.
    (True, "up", ["link is down, and the task asks for up"]),
]


@pytest.mark.parametrize(("up", "asked", "words"), QUARANTINES)
def test_a_quarantine_ends_only_if_the_guest_gets_its_carrier_back(
    monkeypatch: pytest.MonkeyPatch, up: bool, asked: str, words: list[str]
) -> None:
    monkeypatch.setattr(sysfs, "is_up", lambda name: up)
    note = a_nic_note(devices=[tun(31)], network=Network(link="down"))
    wanted, have = an_interface(link=asked), a_nic(note=note)
    assert differences(wanted, have) == words
    move = move_of(wanted, have)
    assert move is not None
    by_hand = up and asked == "up"
    # The result shows the host's side only.
    found = details(wanted, have, move)
    assert found == ({"link": ("down", "up")} if by_hand else {})


def test_an_alias_of_a_model_is_no_difference() -> None:
    assert differences(an_interface(model="virtio-net"), a_nic()) == []


def test_result() -> None:
    nic = a_nic(devices=[tun(31), tun(32), vhost(33)])
    assert nic.result() == {
        "mac": MAC,
        "type": "bridge",
        "source": "br0",
        "ifname": IFNAME,
        "queues": 2,
        "network": Network("br0").result(),
        "devices": [each.result() for each in (tun(31), tun(32), vhost(33))],
    }


def test_a_link_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysfs, "exists", lambda name: False)
    assert (a_nic().source, a_nic(**FOREIGN).source) == ("br0", None)
    assert a_nic(**MACVTAP).mode is None


def test_the_mtu_of_a_link_that_is_gone_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sysfs, "exists", lambda name: False)
    monkeypatch.setattr(sysfs, "mtu", lambda name: None)
    assert details(an_interface(mtu=1400), a_nic(), None)["mtu"] == (None, "1400")


UNNAMED: dict[str, t.Any] = {
    "note": None,
    "devices": [Device("/dev/net/tun", "0A:C8", None, 31)],
}


@pytest.mark.parametrize("asked", [{}, {"mtu": 1500}, {"source": "br1"}])
@pytest.mark.parametrize(
    ("nic", "words"),
    [
        ({}, f"its link {IFNAME} is not in"),
        (FOREIGN, "its link vnet0 is not in"),
        ({"note": a_nic_note(made=False)}, f"its link {IFNAME} is not in"),
        # The kernel tells no name of a tap that was removed.
        (UNNAMED, "its link is not in"),
    ],
)
def test_a_nic_whose_link_is_not_here_is_never_as_asked_and_never_updated(
    monkeypatch: pytest.MonkeyPatch,
    nic: dict[str, t.Any],
    words: str,
    asked: dict[str, t.Any],
) -> None:
    monkeypatch.setattr(sysfs, "exists", lambda name: False)
    monkeypatch.setattr(sysfs, "mtu", lambda name: None)
    (found,) = differences(an_interface(**asked), a_nic(**nic))
    assert found.startswith(f"{words} this network namespace (it was removed or moved)")
    assert move_of(an_interface(**asked), a_nic(**nic)) is None


@pytest.mark.parametrize(("index", "here"), [(12, True), (20, False), (None, False)])
def test_a_link_of_another_program_with_the_same_name_is_not_the_nics(
    monkeypatch: pytest.MonkeyPatch, index: int | None, here: bool
) -> None:
    monkeypatch.setattr(sysfs, "ifindex", lambda name: index)
    nic = a_nic(note=a_nic_note(devices=[tun(31)], ifindex=12))
    assert nic.has_place is here
    assert (differences(an_interface(), nic) == []) is here
    assert (move_of(an_interface(source="br1"), nic) is not None) is here


@pytest.mark.parametrize("fd", [31, 39])
def test_a_renamed_link_is_still_the_nics(
    monkeypatch: pytest.MonkeyPatch, fd: int
) -> None:
    """It is at the noted descriptor or at another one."""
    qemu = a_holder(tun(fd, "web0"))
    monkeypatch.setattr(sysfs, "ifindex", {"web0": 12}.get)
    monkeypatch.setattr(sysfs, "name_of", {12: "web0"}.get)
    monkeypatch.setattr(sysfs, "exists", lambda name: name == "web0")
    monkeypatch.setattr(holdings, "at", lambda process, number: qemu.held.get(number))
    monkeypatch.setattr(holdings, "still_at", lambda process, known: False)
    monkeypatch.setattr(holdings, "of", lambda process: [*qemu.held.values()])
    note = a_nic_note(devices=[tun(31)], ifindex=12)
    found = observed(qemu, [FRONT_END], {NETDEV: [31]}, interfaces={MAC: note})[MAC]
    assert (found.ifname, found.has_place) == ("web0", True)


def observed(
    qemu: FakeQemu,
    front_ends: list[FrontEnd],
    backends: dict[str, list[int]],
    **notes: t.Any,
) -> dict[str, Nic]:
    inventory = Inventory(front_ends, backends, [], True)
    return observe_nics(inventory, qemu.process, a_note(**notes) if notes else None)


def a_holder(*devices: t.Any) -> FakeQemu:
    qemu = FakeQemu()
    qemu.held = {opened.fd: opened for opened in devices}
    return qemu


@pytest.mark.parametrize("pending", [True, False])
def test_devices_are_held_as_noted(pending: bool) -> None:
    note = a_nic_note(devices=[tun(31), vhost(32)], pending=pending)
    qemu = a_holder(tun(31), vhost(32), tun(39))
    found = observed(qemu, [FRONT_END], {NETDEV: [31]}, interfaces={MAC: note})
    assert found == {MAC: Nic(MAC, FRONT_END, NETDEV, [tun(31), vhost(32)], note)}


@pytest.mark.parametrize(
    ("phase", "held"), [("held", [vhost(32)]), ("revoked", [vhost(32)])]
)
def test_a_device_that_proc_does_not_show_is_not_held(
    phase: str, held: list[t.Any]
) -> None:
    note = a_nic_note(devices=[tun(31), vhost(32)], phase=phase)
    qemu = a_holder(vhost(32))
    found = observed(qemu, [FRONT_END], {NETDEV: [31]}, interfaces={MAC: note})
    assert found[MAC].devices == held


@pytest.mark.parametrize("noted", [True, False])
def test_without_a_finished_note_the_monitors_numbers_count(noted: bool) -> None:
    note = a_nic_note(devices=[tun(7)], phase="opening")
    qemu = a_holder(tun(31), vhost(32))
    found = observed(
        qemu,
        [FRONT_END],
        {NETDEV: [31, 32, 33]},
        **({"interfaces": {MAC: note}} if noted else {}),
    )
    assert found[MAC].devices == [tun(31)]
    assert found[MAC].note is (note if noted else None)


@pytest.mark.parametrize(
    ("ifnames", "held"),
    [
        ({NETDEV: "tap7"}, [tun(41, "tap7"), tun(42, "tap7")]),
        # qemu's helper tells no name.
        ({}, [tun(41, "tap7"), tun(42, "tap7"), tun(43, "tap8")]),
        ({NETDEV: "tap9"}, []),
    ],
)
def test_a_device_that_qemu_opened_by_itself(
    ifnames: dict[str, str], held: list[t.Any]
) -> None:
    qemu = a_holder(
        tun(31, "tap5"), tun(41, "tap7"), tun(42, "tap7"), tun(43, "tap8"), vhost(44)
    )
    backends: dict[str, list[int]] = {"other": [31], NETDEV: []}
    inventory = Inventory([FRONT_END], backends, [], True, ifnames)
    assert observe_nics(inventory, qemu.process, None)[MAC].devices == held


@pytest.mark.parametrize("named", [range(31, 5000), []])
def test_each_descriptor_is_looked_at_once(
    monkeypatch: pytest.MonkeyPatch, named: t.Iterable[int]
) -> None:
    """A qemu that its guest has taken over can name any descriptors for any NICs. So a task would look for hours."""
    qemu = a_holder(tun(31), tun(32), vhost(33))
    looked: list[int] = []
    at = holdings.at
    monkeypatch.setattr(
        holdings,
        "at",
        lambda process, fd: looked.append(fd) or at(process, fd),  # type: ignore[func-returns-value]
    )
    macs = [f"52:54:00:00:01:{number:02x}" for number in range(200)]
    nics = [
        FRONT_END._replace(path=f"/machine/peripheral/{mac}", mac=mac) for mac in macs
    ]
    inventory = Inventory(nics, {NETDEV: [*named, *named]}, [], True)
    found = observe_nics(inventory, qemu.process, None)
    assert [found[mac].devices for mac in macs] == [[tun(31), tun(32)]] * 200
    assert len(looked) == len(qemu.fds())


@pytest.mark.parametrize(
    ("held", "backends", "seen"),
    [
        ([tun(31)], {NETDEV: [31]}, True),
        ([tun(31)], {}, True),
        ([], {NETDEV: [31]}, True),
        ([], {}, False),
        ([], {"other": [31]}, False),
    ],
)
def test_a_back_end_alone(
    held: list[t.Any], backends: dict[str, list[int]], seen: bool
) -> None:
    note = a_nic_note(devices=[tun(31)])
    found = observed(a_holder(*held), [], backends, interfaces={MAC: note})
    assert found == ({MAC: Nic(MAC, None, NETDEV, held, note)} if seen else {})


def test_a_nic_without_a_mac_is_left_alone_and_said() -> None:
    """A qemu that somebody has changed can report anything."""
    forged = f"{MAC} res=success"
    other = FrontEnd("/machine/peripheral/evil", "e1000", forged, "hostnet0")
    # The id of a NIC of this collection has its MAC.
    ours = FrontEnd("/machine/peripheral/net-525400000001", "e1000", forged, NETDEV)
    qemu = FakeQemu()
    inventory = Inventory([other, ours], {"hostnet0": [31]}, [], True)
    found = observe_nics(inventory, qemu.process, None)
    assert {mac: nic.front_end for mac, nic in found.items()} == {MAC: ours}
    (said,) = nameless("web01", qemu.process, inventory, found.values())
    assert "(pid 4711) of VM web01 reports '52:54:00:00:00:01 res=success' as" in said
    assert "the MAC of /machine/peripheral/evil" in said


@pytest.mark.parametrize("others", [frozenset(), frozenset(["hostnet0"])])
def test_a_nic_on_another_kind_of_back_end_has_its_network(
    others: frozenset[str],
) -> None:
    other = FrontEnd("/machine/peripheral/n0", "e1000", MAC, "hostnet0")
    inventory = Inventory([other], {}, [], True, others=others)
    found = observe_nics(inventory, FakeQemu().process, None)[MAC]
    assert (found.needs_none, found.is_closed) == (bool(others), not others)


def test_a_guest_cannot_take_the_mac_of_another_nic() -> None:
    """A guest with a vmxnet3 can rewrite the MAC that qemu reports."""
    other = "52:54:00:00:00:02"
    ours = FrontEnd("/machine/peripheral/net-525400000001", "vmxnet3", other, NETDEV)
    theirs = FrontEnd("/machine/peripheral/net0", "vmxnet3", other, "hostnet0")
    noted = FrontEnd("/machine/peripheral/net1", "vmxnet3", MAC, "hostnet1")
    inventory = Inventory([theirs, noted, ours], {}, [], True)
    third = "52:54:00:00:00:03"
    note = a_note(
        interfaces={
            MAC: a_nic_note(devices=[tun(31)]),
            third: a_nic_note(mac=third, made=False, netdev="hostnet1"),
        }
    )
    found = observe_nics(inventory, FakeQemu().process, note)
    assert {mac: nic.front_end for mac, nic in found.items()} == {
        MAC: ours,
        third: noted,
        other: theirs,
    }
