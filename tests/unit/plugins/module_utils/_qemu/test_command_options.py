# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.command import (
    MAX_PORTS,
    parse_qemu,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    QEMU,
    an_interface,
)

# option, value, words of the message
REFUSED: list[tuple[str, t.Any, str]] = [
    ("memory", "", "'' is not a size"),
    ("memory", "0", "'0' is not a size"),
    ("memory", "1.5G", "'1.5G' is not a size"),
    ("memory", "512MB", "'512MB' is not a size"),
    ("memory", "-1", "'-1' is not a size"),
    ("memory", "1024,slots=4", "is not a size"),
    ("memory", "1024\n", "is not a size"),
    ("memory", "\u0661", "is not a size"),
    ("vcpus", 0, "0 is less than 1"),
    ("vcpus", -2, "-2 is less than 1"),
    ("hotplug_ports", -1, "-1 is less than 0"),
    ("hotplug_ports", 121, "a VM has at most 120"),
    ("machine", "pc", "pc has no PCI Express"),
    ("machine", "pc,usb=off", "has no PCI Express"),
    ("machine", "pc-i440fx-7.2", "has no PCI Express"),
    ("machine", "isapc", "has no PCI Express"),
    ("machine", "microvm", "has no PCI Express"),
    ("machine", "none", "has no PCI Express"),
    ("args", ["-drive", "a\0b"], "cannot hold a NUL byte"),
    ("args", ["-drive", "\ud800"], "is not a text that UTF-8 can encode"),
    ("machine", "q35,\ud800", "is not a text that UTF-8 can encode"),
    ("user", "\ud800", "is not a text that UTF-8 can encode"),
]


def test_a_path_can_have_any_bytes() -> None:
    words = ["-drive", "file=/srv/\udcff.img"]
    assert parse_qemu({**QEMU, "args": words}, []).args == tuple(words)


@pytest.mark.parametrize(("option", "value", "words"), REFUSED)
def test_refused(option: str, value: t.Any, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_qemu({**QEMU, option: value}, [])
    assert caught.value.option == f"qemu.{option}"
    assert words in str(caught.value)


# argument, the option to use in its place, or "" if there is none
OWN = [
    ("-net", "interfaces"),
    ("-netdev", "interfaces"),
    ("-nic", "interfaces"),
    ("-name", "name"),
    ("-uuid", "uuid"),
    ("-machine", "qemu.machine"),
    ("-M", "qemu.machine"),
    ("-accel", "qemu.accel"),
    ("-enable-kvm", "qemu.accel"),
    ("-cpu", "qemu.cpu"),
    ("-m", "qemu.memory"),
    ("-smp", "qemu.vcpus"),
    ("-S", "qemu.paused"),
    ("-runas", "qemu.user"),
    ("-run-with", "qemu.user"),
    ("-sandbox", ""),
    ("-daemonize", ""),
    ("-pidfile", ""),
    ("-add-fd", ""),
    ("-readconfig", ""),
]


@pytest.mark.parametrize(("argument", "instead"), OWN)
@pytest.mark.parametrize("dashes", ["", "-"])
@pytest.mark.parametrize("before", [[], ["-snapshot"]])
def test_own_argument(
    argument: str, instead: str, dashes: str, before: list[str]
) -> None:
    # qemu takes an option with one dash or two.
    given = [*before, dashes + argument, "x"]
    with pytest.raises(OptionError) as caught:
        parse_qemu({**QEMU, "args": given}, [])
    expected = f"qemu.args: the module itself sets {dashes}{argument}"
    assert str(caught.value) == expected + (
        f"; use the option {instead}" if instead else ""
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"memory": "4G"},
        {"memory": "512m"},
        {"machine": "q35,smm=on"},
        {"machine": "pc-q35-7.2"},
        {"machine": "virt"},
        {"hotplug_ports": 0},
        {"hotplug_ports": 120},
        {"args": ["-drive", "file=/x,if=virtio", "-snapshot"]},
        {"args": ["-device", "virtio-rng-pci", "-append", "net netdev name"]},
    ],
)
def test_accepted(changes: dict[str, t.Any]) -> None:
    qemu = parse_qemu({**QEMU, **changes}, [])
    expected = {**QEMU, **changes}
    expected["args"] = tuple(expected["args"])
    assert qemu._asdict() == expected


@pytest.mark.parametrize(("accel", "virt"), [("kvm", "kvm"), ("tcg", "qemu")])
def test_virt(accel: str, virt: str) -> None:
    assert parse_qemu({**QEMU, "accel": accel}, []).virt == virt


@pytest.mark.parametrize(
    ("spare", "fits"), [(MAX_PORTS - 2, True), (MAX_PORTS - 1, False)]
)
def test_most_ports(spare: int, fits: bool) -> None:
    asked = {**QEMU, "hotplug_ports": spare}
    interfaces = [an_interface(), an_interface(), an_interface(model="usb-net")]
    if fits:
        assert parse_qemu(asked, interfaces).hotplug_ports == spare
        return
    with pytest.raises(OptionError, match=f"asks for {MAX_PORTS + 1} PCIe ports"):
        parse_qemu(asked, interfaces)
