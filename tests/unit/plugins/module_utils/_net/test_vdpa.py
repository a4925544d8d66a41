# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vdpa devices in a fake sysfs. Nodes of other character devices stand for their nodes."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import (
    Device,
    format_rdev,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    DeviceError,
    LinkError,
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    holdings,
    sysfs,
    vdpa,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.backends import (
    backend_of,
    kind_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface import (
    Interface,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface_options import (
    parse_interfaces,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.network import (
    network_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.command import netdev
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    an_interface,
    an_item,
    macvtap,
    tun,
    vhost,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    process_of,
)

ZERO = "1:5"


@pytest.fixture(name="devices", autouse=True)
def fixture_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two devices with nodes, vdpa0 and vdpa1, and bare, which another driver serves."""
    for name, node, number in (
        ("vdpa0", "vhost-vdpa-3", ZERO),
        ("vdpa1", "vhost-vdpa-10", "1:7"),
        ("bare", None, None),
    ):
        (tmp_path / name).mkdir()
        if node is not None:
            (tmp_path / name / node).mkdir()
            (tmp_path / name / node / "dev").write_text(f"{number}\n")
    monkeypatch.setattr(vdpa, "_DEVICES", str(tmp_path))
    return tmp_path


@pytest.fixture(name="numbers")
def fixture_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says that /dev/zero is the node of vdpa0."""
    known = {(1, 5): "vhost-vdpa-3"}
    monkeypatch.setattr(sysfs, "vdpa_of", lambda *given: known.get(given))


def parse(**changes: t.Any) -> Interface:
    return parse_interfaces(
        [an_item(**{"type": "vdpa", "source": "vdpa0", **changes})]
    )[0]


@pytest.mark.parametrize("source", ["vdpa0", "/dev/vhost-vdpa-3"])
def test_a_device_is_known_by_its_name_and_by_its_node(source: str) -> None:
    found = parse(source=source)
    assert (found.source, found.ifname, found.vhost) == ("vdpa0", "vhost-vdpa-3", "off")
    assert found.network == Network("vdpa0")
    assert backend_of("vdpa").source_of(found.ifname) == "vdpa0"


@pytest.mark.parametrize(
    ("given", "option", "words"),
    [
        ({"source": "vdpa7"}, "source", "this host has no vdpa device vdpa7"),
        ({"source": "bare"}, "source", "no vdpa device bare with a node"),
        ({"source": "/dev/vhost-vdpa-1"}, "source", "no vdpa device /dev/vhost-vdpa-1"),
        ({"source": "/dev/null"}, "source", "is neither the node"),
        ({"source": "/dev/vhost-vdpa-3/../null"}, "source", "is neither the node"),
        ({"source": "../vdpa0"}, "source", "is neither the node"),
        ({"source": ".."}, "source", "is neither the node"),
        ({"source": "vdpa0\n"}, "source", "is neither the node"),
        ({"source": ""}, "source", "is neither the node"),
        ({"vlan": {"tag": 42}}, "vlan", "do not pass the host"),
        ({"filter": "mac"}, "filter", "do not pass the host"),
        ({"addresses": ["192.0.2.1"]}, "addresses", "do not pass the host"),
        ({"isolated": True}, "isolated", "do not pass the host"),
        ({"link": "down"}, "link", "do not pass the host"),
        ({"mtu": 1400}, "mtu", "do not pass the host"),
        ({"mode": "vepa"}, "mode", "only type=direct"),
        ({"ifname": "tap0"}, "ifname", "has no link on the host"),
        ({"queues": 2}, "queues", "says how many queues it has"),
        ({"vhost": "off"}, "vhost", "does the work of vhost-net itself"),
        ({"vhost": "required"}, "vhost", "does the work of vhost-net itself"),
        ({"port_profile": "x"}, "port_profile", "only a port of Open vSwitch"),
        ({"interface_id": "x"}, "interface_id", "only a port of Open vSwitch"),
        ({"model": "e1000"}, "model", "e1000 cannot use a vdpa device"),
        ({"model": "usb-net"}, "model", "usb-net cannot use a vdpa device"),
    ],
)
def test_the_message_names_an_option_that_does_not_apply(
    given: dict[str, t.Any], option: str, words: str
) -> None:
    with pytest.raises(OptionError) as raised:
        parse(**given)
    assert str(raised.value).startswith(f"interfaces[0].{option}: ")
    assert words in str(raised.value)


def test_two_nics_cannot_share_a_device() -> None:
    items = [
        an_item(type="vdpa", source="vdpa0"),
        an_item(type="vdpa", source="/dev/vhost-vdpa-3", mac="52:54:00:00:00:02"),
    ]
    with pytest.raises(OptionError, match="vhost-vdpa-3 is given twice"):
        parse_interfaces(items)


class Nodes:
    """Opens /dev/zero for each node, whatever its path."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open_node(
        self,
        interface: Interface,
        path: str,
        setup: t.Callable[[Device], None] | None,
    ) -> Device:
        self.opened.append(path)
        rdev = format_rdev(os.stat("/dev/zero").st_rdev)
        found = Device(path, rdev, None, 9)
        if setup is not None:
            setup(found)
        return found

    def made_link(self, ifname: str) -> None:
        raise AssertionError(ifname)


def test_the_node_is_opened_once() -> None:
    nodes = Nodes()
    (found,) = backend_of("vdpa").open(parse(), nodes)
    assert nodes.opened == ["/dev/vhost-vdpa-3"]
    assert (found.rdev, found.dev) == ("01:05", "vhost-vdpa-3")
    assert found.is_vdpa
    assert kind_of(found, None) == "vdpa"


def test_a_node_of_another_device_is_refused() -> None:
    nodes = Nodes()
    with pytest.raises(
        DeviceError, match="has the number 01:05, and the device has 1:7"
    ):
        backend_of("vdpa").open(parse(source="vdpa1"), nodes)
    assert nodes.opened == ["/dev/vhost-vdpa-10"]


def test_a_device_that_has_disappeared_is_not_opened(devices: Path) -> None:
    wanted, nodes = parse(), Nodes()
    (devices / "vdpa0" / "vhost-vdpa-3").rename(devices / "vdpa0" / "vhost-vdpa-4")
    with pytest.raises(DeviceError, match="has another node than vhost-vdpa-3 now"):
        backend_of("vdpa").open(wanted, nodes)
    assert nodes.opened == []


@pytest.mark.usefixtures("numbers")
def test_a_holder_is_known_by_the_device_number(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = os.open("/dev/zero", os.O_RDONLY)
    process = process_of(start(pass_fds=[fd]))
    os.close(fd)
    monkeypatch.setattr(holdings, "all_processes", lambda: [process])
    found = holdings.at(process, fd)
    assert found == Device("/dev/zero", "01:05", "vhost-vdpa-3", fd)
    assert found.is_vdpa
    assert holdings.still_at(process, found)
    holding = holdings.holder_of("vhost-vdpa-3", None, process)
    assert holding is not None
    assert (holding.process, holding.fd) == (process, fd)
    with pytest.raises(OptionError, match=f"vdpa0 is in use: pid {process.pid} "):
        backend_of("vdpa").check(parse(), ())
    # The VM's own NIC, which is taken out before.
    backend_of("vdpa").check(parse(), ("vhost-vdpa-3",))
    backend_of("vdpa").check(parse(source="vdpa1"), ())


def test_nothing_of_it_stays_on_the_host() -> None:
    link = NicLink("vhost-vdpa-3", None, MAC, Network("vdpa0"))
    backend = backend_of("vdpa")
    assert [*backend.prepare([link])] == [None]
    assert not backend.remains(link)
    assert backend.complaints("vdpa0", None) == []
    assert network_of(link, "vdpa") == ("vhost-vdpa-3", Network("vdpa0"))
    with pytest.raises(LinkError, match="cannot move from one vdpa device to another"):
        backend.update(link, Network("vdpa1"))


@pytest.mark.parametrize("node", ["31", "vt525400000001-queue0"])
def test_qemu_gets_one_descriptor_and_no_path(node: str) -> None:
    wanted = an_interface(type="vdpa", source="vdpa0", ifname="vhost-vdpa-3")
    assert netdev(wanted, [node], []) == {
        "type": "vhost-vdpa",
        "id": "hostnet-525400000001",
        "vhostfd": node,
    }


@pytest.mark.parametrize(
    ("device", "known"),
    [
        (Device("/dev/vhost-vdpa-3", "F0:03", "vhost-vdpa-3", 9), True),
        # As libvirt records it.
        (Device("/dev/vhost-vdpa-3", "F0:03", None, None), True),
        # The same device by a node elsewhere.
        (Device("/srv/node", "F0:03", "vhost-vdpa-3", 9), True),
        (tun(9, "vhost-vdpa-3"), False),
        (macvtap(9, "vhost-vdpa-3"), False),
        (vhost(9), False),
        (vhost(9, "vhost-vdpa-3"), False),
        (Device(None, None, None, 9), False),
    ],
)
def test_a_vdpa_device_is_told_from_others(device: Device, known: bool) -> None:
    assert device.is_vdpa is known
