# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MonitorError,
    QmpError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import (
    FrontEnd,
    free_ports,
    take_inventory,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

# Output of qemu 7.2: a NIC with two queues, one NIC that somebody else added, and a back end alone.
INFO = (
    "net-a: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:01\r\n"
    " \\ hostnet-a: index=0,type=tap,fd=31\r\n"
    " \\ hostnet-a: index=1,type=tap,fd=32\r\n"
    "net1: index=0,type=nic,model=e1000,macaddr=52:54:00:00:00:02\r\n"
    " \\ user0: index=0,type=user,net=10.0.2.0,restrict=off\r\n"
    "hostnet-b: index=0,type=tap,fd=35\r\n"
    "own: index=0,type=tap,ifname=tap0,script=no,downscript=no\r\n"
    "hostnet-v: index=0,type=vhost-vdpa,vhost-vdpa\r\n"
)
TREE: dict[str, list[tuple[str, str]]] = {
    "/machine/peripheral": [
        ("type", "string"),
        ("net-a", "child<virtio-net-pci>"),
        ("virtaudit-port0", "child<pcie-root-port>"),
        ("virtaudit-port1", "child<pcie-root-port>"),
        ("virtaudit-port10", "child<pcie-root-port>"),
        ("rng", "child<virtio-rng-pci>"),
    ],
    "/machine/peripheral-anon": [
        ("device[0]", "child<e1000>"),
        ("device[1]", "child<pcie-root-port>"),
    ],
    "/machine/peripheral/virtaudit-port0/virtaudit-port0": [
        ("child[0]", "link<virtio-net-pci>"),
        ("hotplug-handler", "link<hotplug-handler>"),
    ],
    "/machine/peripheral/virtaudit-port1/virtaudit-port1": [
        ("hotplug-handler", "link<hotplug-handler>")
    ],
    "/machine/peripheral/virtaudit-port10/virtaudit-port10": [],
}
PROPERTIES = {
    ("/machine/peripheral/net-a", "mac"): "52:54:00:00:00:0A",
    ("/machine/peripheral/net-a", "netdev"): "hostnet-a",
    ("/machine/peripheral-anon/device[0]", "mac"): "52:54:00:00:00:02",
    ("/machine/peripheral-anon/device[0]", "netdev"): "user0",
    ("/machine", "type"): "pc-q35-7.2-machine",
}


def a_qemu(
    tree: dict[str, list[tuple[str, str]]], machine: str | None = None
) -> FakeQemu:
    qemu = FakeQemu()

    def qom_list(given: t.Mapping[str, t.Any]) -> t.Any:
        if given["path"] not in tree:
            raise QmpError("qom-list", "DeviceNotFound", "no such object")
        return [{"name": name, "type": kind} for name, kind in tree[given["path"]]]

    def qom_get(given: t.Mapping[str, t.Any]) -> t.Any:
        key = (given["path"], given["property"])
        if key == ("/machine", "type") and machine is not None:
            return machine
        if key not in PROPERTIES:
            raise QmpError("qom-get", "GenericError", "Property not found")
        return PROPERTIES[key]

    qemu.answers = {
        "qom-list": qom_list,
        "qom-get": qom_get,
        "human-monitor-command": lambda given: INFO,
        "query-kvm": lambda given: {"present": True, "enabled": False},
    }
    return qemu


def test_inventory() -> None:
    qemu = a_qemu(TREE)
    found = take_inventory(qemu.monitor)
    assert found.front_ends == [
        FrontEnd(
            "/machine/peripheral/net-a",
            "virtio-net-pci",
            "52:54:00:00:00:0a",
            "hostnet-a",
        ),
        FrontEnd(
            "/machine/peripheral-anon/device[0]",
            "e1000",
            "52:54:00:00:00:02",
            "user0",
        ),
    ]
    assert found.backends == {
        "hostnet-a": [31, 32],
        "hostnet-b": [35],
        "own": [],
        "hostnet-v": [],
    }
    assert found.vdpas == {"hostnet-v"}
    assert found.others == {"user0"}
    assert found.ifnames == {"own": "tap0"}
    assert free_ports(qemu.monitor, found.ports) == [
        "virtaudit-port1",
        "virtaudit-port10",
    ]
    assert found.has_ports
    assert ("human-monitor-command", {"command-line": "info network"}) in qemu.log


def test_free_ports_are_looked_for_until_there_are_enough() -> None:
    qemu = a_qemu(TREE)
    ports = take_inventory(qemu.monitor).ports
    assert ports[:2] == ["virtaudit-port0", "virtaudit-port1"]
    before = len(qemu.log)
    # The first port is taken.
    assert free_ports(qemu.monitor, ports, 1) == ["virtaudit-port1"]
    # The code listed two ports. A port of our own accepts a device, so the code did not ask.
    assert len(qemu.log) == before + 2
    assert free_ports(qemu.monitor, ports, 9) == free_ports(qemu.monitor, ports)
    assert free_ports(qemu.monitor, [], 1) == []


def test_a_port_that_takes_no_device_is_left_alone() -> None:
    tree = {
        **TREE,
        "/machine/peripheral": [
            (f"rp{number}", "child<pcie-root-port>") for number in range(3)
        ],
        **{f"/machine/peripheral/rp{number}/rp{number}": [] for number in range(3)},
    }
    qemu = a_qemu(tree)
    get = qemu.answers["qom-get"]

    def answer(given: t.Any) -> t.Any:
        if given["property"] == "hotplug":
            return given["path"] != "/machine/peripheral/rp1"
        return get(given)

    qemu.answers["qom-get"] = answer
    ports = take_inventory(qemu.monitor).ports
    assert free_ports(qemu.monitor, ports) == ["rp0", "rp2"]


@pytest.mark.parametrize(
    ("machine", "has_ports"),
    [
        ("pc-q35-7.2-machine", True),
        ("virt-7.2-machine", True),
        ("pc-i440fx-7.2-machine", False),
    ],
)
def test_a_vm_without_ports(machine: str, has_ports: bool) -> None:
    tree: dict[str, list[tuple[str, str]]] = {"/machine/peripheral": []}
    found = take_inventory(a_qemu(tree, machine).monitor)
    assert (found.front_ends, found.ports) == ([], [])
    assert found.has_ports is has_ports


@pytest.mark.parametrize(("enabled", "virt"), [(True, "kvm"), (False, "qemu")])
def test_virt(enabled: bool, virt: str) -> None:
    qemu = a_qemu(TREE)
    qemu.answers["query-kvm"] = lambda given: {"present": True, "enabled": enabled}
    assert take_inventory(qemu.monitor).virt == virt


@pytest.mark.parametrize("command", ["human-monitor-command", "query-kvm"])
def test_a_refused_question_is_no_empty_inventory(command: str) -> None:
    qemu = a_qemu(TREE)

    def refuse(given: t.Mapping[str, t.Any]) -> t.Any:
        raise QmpError(command, "GenericError", "not now")

    qemu.answers[command] = refuse
    with pytest.raises(QmpError, match="not now"):
        take_inventory(qemu.monitor)


def test_our_nics_cost_no_command_each() -> None:
    names = [f"net-5254000000{number:02x}" for number in range(64)]
    tree = {
        "/machine/peripheral": [(name, "child<virtio-net-pci>") for name in names],
        "/machine/peripheral-anon": [],
    }
    qemu = a_qemu(tree, "pc-q35-7.2")
    qemu.answers["human-monitor-command"] = lambda given: "".join(
        f"{name}: index=0,type=nic,model=virtio-net-pci,macaddr=02:00:00:00:00:99\r\n"
        f" \\ host{name}: index=0,type=tap,fd={fd}\r\n"
        for fd, name in enumerate(names, 30)
    )
    found = take_inventory(qemu.monitor).front_ends
    # qemu shows the MAC that the guest has set.
    assert [(each.mac, each.netdev) for each in found] == [
        (f"52:54:00:00:00:{number:02x}", f"host{name}")
        for number, name in enumerate(names)
    ]
    assert len(qemu.commands) <= 5


def test_a_nic_of_ours_without_a_back_end_is_asked_for() -> None:
    path = "/machine/peripheral/net-525400000001"
    tree = {
        "/machine/peripheral": [("net-525400000001", "child<virtio-net-pci>")],
        "/machine/peripheral-anon": [],
    }
    qemu = a_qemu(tree, "pc-q35-7.2")
    qemu.answers["human-monitor-command"] = lambda given: (
        "net-525400000001: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:01\r\n"
    )
    said = {"mac": "52:54:00:00:00:01", "netdev": ""}
    qemu.answers["qom-get"] = lambda given: said.get(given["property"], "pc-q35-7.2")
    assert take_inventory(qemu.monitor).front_ends == [
        FrontEnd(path, "virtio-net-pci", "52:54:00:00:00:01", "")
    ]


def test_more_devices_than_a_machine_can_have_are_refused() -> None:
    """A qemu that its guest has taken over can list devices without end, and the task would ask about each."""
    many = [(f"d{number}", "child<e1000>") for number in range(20000)]
    qemu = a_qemu({**TREE, "/machine/peripheral": many})
    with pytest.raises(MonitorError, match="answered qom-list with"):
        take_inventory(qemu.monitor)
    assert "qom-get" not in qemu.commands
