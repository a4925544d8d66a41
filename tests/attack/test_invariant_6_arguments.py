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

from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.arguments import (
    refusals,
)
from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm, warnings_of
from ansible_collections.virtaudit.qemu.tests.fault import witness


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


def test_invariant_6_every_nic_that_this_qemu_knows_is_refused() -> None:
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
        (refusal,) = refusals(["-device", name])
        assert refusal.kind == "device"
