# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils import _device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    host,
    link,
    sysfs,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import an_interface

DIRECT: dict[str, t.Any] = {"type": "direct", "source": "eth0", "mode": "vepa"}


@pytest.fixture(name="net")
def fixture_net(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A /sys/class/net with a bridge br0, a free device eth0 and eth1, which is br0's port."""
    net = tmp_path / "net"
    monkeypatch.setattr(sysfs, "_NET", str(net))
    node = tmp_path / "vhost-net"
    node.touch()
    monkeypatch.setattr(_device, "VHOST_NET_PATH", str(node))
    add_link(net, "br0", mac="02:00:00:00:00:01")
    (net / "br0" / "bridge").mkdir()
    add_link(net, "eth0", mac="02:00:00:00:00:02")
    add_link(net, "eth1", mac="02:00:00:00:00:03")
    (net / "eth1" / "master").symlink_to(net / "br0")
    (net / "br0" / "lower_eth1").symlink_to(net / "eth1")
    (net / "eth1" / "upper_br0").symlink_to(net / "br0")
    return net


def add_link(net: Path, name: str, mac: str, flags: int = 0x1003) -> None:
    directory = net / name
    directory.mkdir(parents=True)
    (directory / "address").write_text(f"{mac}\n")
    (directory / "flags").write_text(f"{flags:#x}\n")
    (directory / "mtu").write_text("1500\n")
    (directory / "ifindex").write_text("12\n")


def add_tap(net: Path, name: str, mac: str) -> None:
    add_link(net, name, mac)
    (net / name / "tun_flags").write_text("0x1002\n")


def add_macvtap(net: Path, name: str, mac: str, lower: str) -> None:
    add_link(net, name, mac)
    (net / name / "tap12").mkdir()
    (net / name / "tap12" / "dev").write_text("246:1\n")
    (net / lower / f"upper_{name}").symlink_to(net / name)
    (net / name / f"lower_{lower}").symlink_to(net / lower)


# what the task asks for, the option at fault, words of the message
REFUSED: list[tuple[dict[str, t.Any], str, str]] = [
    ({"source": "br9"}, "source", "there is no link br9 on this host"),
    ({**DIRECT, "source": "eth9"}, "source", "there is no link eth9 on this host"),
    ({"source": "eth0"}, "source", "eth0 is not a bridge; use type: direct"),
    ({"ifname": "eth0"}, "ifname", "another link of this host has the name eth0"),
    (
        {**DIRECT, "ifname": "br0"},
        "ifname",
        "another link of this host has the name br0",
    ),
    ({**DIRECT, "source": "eth1"}, "source", "eth1 is a port of br0"),
    ({**DIRECT, "mtu": 1501}, "mtu", "1501 is more than 1500, the MTU of eth0"),
]


@pytest.mark.parametrize(("asked", "option", "words"), REFUSED)
def test_refused(net: Path, asked: dict[str, t.Any], option: str, words: str) -> None:
    refuses(option, words, **asked)


def refuses(option: str, words: str, **asked: t.Any) -> None:
    with pytest.raises(OptionError) as caught:
        host.check([an_interface(option="interfaces[4]", **asked)])
    assert caught.value.option == f"interfaces[4].{option}"
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"mtu": 9000},
        {"vhost": "required"},
        DIRECT,
        {**DIRECT, "mtu": 1500},
        {**DIRECT, "mode": "passthrough"},
    ],
)
def test_accepted(net: Path, asked: dict[str, t.Any]) -> None:
    before = sorted(net.rglob("*"))
    host.check([an_interface(**asked)])
    assert sorted(net.rglob("*")) == before


def test_a_lower_device_that_is_down(net: Path) -> None:
    (net / "eth0" / "flags").write_text("0x1002\n")
    refuses("source", "eth0 is down", **DIRECT)


@pytest.mark.parametrize("vhost", ["auto", "off", "required"])
def test_no_vhost_net(
    net: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vhost: str
) -> None:
    monkeypatch.setattr(_device, "VHOST_NET_PATH", str(tmp_path / "absent"))
    if vhost == "required":
        refuses("vhost", "load the kernel module vhost_net", vhost=vhost)
    else:
        host.check([an_interface(vhost=vhost)])


def test_passthrough_on_a_lower_device_in_use(net: Path) -> None:
    add_macvtap(net, "mv0", "52:54:00:00:00:09", "eth0")
    refuses(
        "mode",
        "which these links use already: mv0",
        **{**DIRECT, "mode": "passthrough"},
    )


def test_a_macvtap_that_has_its_lower_device_alone_can_be_updated(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_macvtap(net, "mv0", "52:54:00:00:00:01", "eth0")
    monkeypatch.setattr(link, "macvtap_mode", {"mv0": "passthrough"}.get)
    quarantine = an_interface(**{**DIRECT, "mode": "passthrough", "link": "down"})
    host.check_source(quarantine, ["mv0"])
    with pytest.raises(OptionError, match="which these links use already: mv0"):
        host.check_source(quarantine)


@pytest.mark.parametrize("mode", ["passthrough", "vepa", "bridge"])
def test_a_lower_device_that_another_macvtap_has_alone(
    net: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    add_macvtap(net, "mv0", "52:54:00:00:00:09", "eth0")
    monkeypatch.setattr(link, "macvtap_mode", {"mv0": mode}.get)
    if mode == "passthrough":
        refuses("source", "mv0 uses the whole device eth0", **DIRECT)
    else:
        host.check([an_interface(**DIRECT)])


def test_a_vlan_on_the_lower_device_is_not_asked_for_its_mode(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(name: str) -> str:
        raise AssertionError(name)

    add_link(net, "eth0.5", "02:00:00:00:00:02")
    (net / "eth0" / "upper_eth0.5").symlink_to(net / "eth0.5")
    monkeypatch.setattr(link, "macvtap_mode", never)
    host.check([an_interface(**DIRECT)])


# kind of the other link, its MAC, our MAC, whether both are the same guest's MAC
CARRIED = [
    ("tap", "fe:54:00:00:00:01", "52:54:00:00:00:01", True),
    ("tap", "52:54:00:00:00:01", "52:54:00:00:00:01", False),
    ("tap", "fa:54:00:00:00:01", "fe:54:00:00:00:01", True),
    ("tap", "fe:54:00:00:00:01", "fe:54:00:00:00:01", False),
    ("macvtap", "52:54:00:00:00:01", "52:54:00:00:00:01", True),
    ("macvtap", "fe:54:00:00:00:01", "52:54:00:00:00:01", False),
    ("plain", "52:54:00:00:00:01", "52:54:00:00:00:01", False),
]


@pytest.mark.parametrize(("kind", "theirs", "ours", "same"), CARRIED)
def test_a_mac_that_another_link_carries(
    net: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    theirs: str,
    ours: str,
    same: bool,
) -> None:
    monkeypatch.setattr(link, "macvtap_mode", lambda name: "vepa")
    if kind == "tap":
        add_tap(net, "other", theirs)
    elif kind == "macvtap":
        add_macvtap(net, "other", theirs, "eth0")
    else:
        add_link(net, "other", theirs)
    for asked in ({}, DIRECT):
        if same:
            refuses("mac", "the link other of this host has it", mac=ours, **asked)
        else:
            host.check([an_interface(mac=ours, **asked)])
