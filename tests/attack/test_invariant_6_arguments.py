# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No argument of qemu gives a VM a network device that this collection did not open, or a monitor that adds one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm, warnings_of
from ansible_collections.virtaudit.qemu.tests.fault import witness

# Each gives a running VM a second monitor, or something that can do as much.
MONITORS = [
    ["-qmp", "unix:/run/vafault,server=on,wait=off"],
    ["--qmp", "tcp:127.0.0.1:4444,server=on,wait=off"],
    ["-qmp-pretty", "unix:/run/vafault,server=on,wait=off"],
    ["-monitor", "unix:/run/vafault,server=on,wait=off"],
    ["-chardev", "null,id=c", "-mon", "chardev=c,mode=control"],
    ["-chardev", "null,id=c", "--mon", "c"],
    ["-serial", "mon:null"],
    ["-parallel", "mon:null"],
    ["-gdb", "tcp:127.0.0.1:4444"],
    ["-s"],
    ["-qtest", "unix:/run/vafault,server=on,wait=off"],
    ["-chardev", "null,id=c", "-object", '{"qom-type":"qtest","id":"q","chardev":"c"}'],
    ["-plugin", "file=/run/vafault.so"],
]
# Each gives the VM a network device that is not on record.
DEVICES = [
    ["-netdev", "tap,id=n,ifname=vafault-tap,script=no,downscript=no"],
    ["-nic", "user"],
    ["--net", "nic"],
    ["-device", "e1000"],
    ["--device", '{"driver":"virtio-net-pci"}'],
    ["-device", "driver=usb-net"],
    ["-device", "vhost-vdpa-device-pci,vhostdev=/dev/vhost-vdpa-0"],
    ["-device", "vfio-pci,host=0000:01:00.0"],
    ["-chardev", "serial,id=c,path=/dev/tap178"],
    ["-drive", "file=/dev/tap178,format=raw"],
    ["-blockdev", "driver=host_device,node-name=n,filename=/dev//tap178"],
    ["-set", "chardev.virtaudit.path=/run/vafault"],
    ["-global", "virtio-net-pci.netdev=n"],
]
USERS = ["root", "nobody"]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("words", [*MONITORS, *DEVICES], ids=" ".join)
def test_invariant_6_an_argument_is_refused_and_nothing_starts(
    vm: Vm, words: list[str], user: str
) -> None:
    started = vm.attach([], {"args": words, "user": user})
    assert started["failed"]
    assert started["msg"].startswith("qemu.args: "), started["msg"]
    assert (
        "would know of it" in started["msg"]
        or "best_effort" in started["msg"]
        or ("is set by this module" in started["msg"])
    )
    assert witness.qemus(vm.uuid) == []
    assert vm.records() == []


def test_invariant_6_a_second_monitor_is_refused(vm: Vm, tmp_path: Path) -> None:
    path = f"{tmp_path}/qmp"
    arguments = ["-qmp", f"unix:{path},server=on,wait=off"]
    started = vm.attach([], {"args": arguments})
    assert started["failed"]
    assert started["msg"].startswith(f"qemu.args: -qmp unix:{path}")
    assert witness.qemus(vm.uuid) == []
    assert vm.records() == []


@pytest.mark.parametrize("audit", ["best_effort", "off"])
def test_invariant_6_a_second_monitor_without_proof_is_a_warning(
    vm: Vm, tmp_path: Path, audit: str
) -> None:
    path = f"{tmp_path}/qmp"
    arguments = ["-qmp", f"unix:{path},server=on,wait=off"]
    started = vm.attach([], {"args": arguments}, audit=audit)
    assert not started.get("failed"), started
    assert f"-qmp unix:{path},server=on,wait=off gives the VM a second monitor" in (
        warnings_of(started)
    )
    assert os.path.exists(path)


@pytest.mark.parametrize("audit", ["required", "best_effort", "off"])
@pytest.mark.parametrize("option", ["-serial", "--parallel", "-hda"])
def test_invariant_6_the_node_of_a_network_device_is_refused(
    vm: Vm, audit: str, option: str
) -> None:
    started = vm.attach([], {"args": [option, "/dev/tap178"]}, audit=audit)
    assert started["failed"]
    assert "the node of a network device" in started["msg"]
    assert witness.qemus(vm.uuid) == []


def test_invariant_6_every_nic_that_this_qemu_knows_is_refused(vm: Vm) -> None:
    text = subprocess.run(
        ["qemu-system-x86_64", "-device", "help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = re.search(r"^Network devices:$(.*?)^$", text, re.M | re.S)
    assert listed is not None
    names = re.findall(r'(?:^name|alias) "([^"]+)"', listed[1], re.M)
    assert len(names) > 20
    for name in names:
        arguments = {"args": ["-device", name]}
        refused = vm.attach([], arguments, audit="off", _ansible_check_mode=True)
        assert refused["msg"].startswith(f"qemu.args: -device {name} gives the VM a ")
        assert "network device" in refused["msg"]
