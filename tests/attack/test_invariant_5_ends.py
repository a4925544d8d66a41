# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No other process, name, argument or monitor can make a living VM end on record."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.attack import by_hand
from ansible_collections.virtaudit.qemu.tests.attack.attacker import NOBODY
from ansible_collections.virtaudit.qemu.tests.attack.conftest import (
    TAP_WITHOUT_VHOST,
    Vm,
)
from ansible_collections.virtaudit.qemu.tests.fault import runner, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    MACVTAP,
    TAP,
    attach,
    detach,
)

TASKS = ["attach", "detach"]


def give(vm: Vm, task: str, socket: Path) -> runner.Result:
    """Run a task with a given monitor for a VM."""
    if task == "attach":
        return vm.attach([TAP, MACVTAP], qmp_socket=str(socket), timeout=2)
    return vm.detach(qmp_socket=str(socket), timeout=2)


def assert_lives(vm: Vm, before: list[witness.Fields], result: runner.Result) -> None:
    """Require that a task was refused, and that neither the VM nor its records have changed."""
    assert result["failed"], result
    assert vm.records() == before
    assert witness.violations(vm.uuid, MACS, MACS, True) == []
    again = vm.attach([TAP, MACVTAP])
    assert not again.get("failed"), again
    assert [nic["action"] for nic in again["interfaces"]] == ["unchanged"] * 2


@pytest.mark.parametrize("task", TASKS)
def test_invariant_5_the_monitor_of_another_qemu(vm: Vm, work: Path, task: str) -> None:
    started = vm.attach([TAP, MACVTAP])
    before = vm.records()
    with by_hand.qemu(work / "m", "-name", f"guest={vm.name}") as pid:
        result = give(vm, task, work / "m")
    assert f"pid {pid} " in result["msg"]
    assert f"pid {started['vm']['pid']} " in result["msg"]
    assert_lives(vm, before, result)


@pytest.mark.parametrize("uid", [0, NOBODY])
@pytest.mark.parametrize("task", TASKS)
def test_invariant_5_a_program_that_calls_itself_qemu(
    vm: Vm, work: Path, task: str, uid: int
) -> None:
    vm.attach([TAP, MACVTAP])
    before = vm.records()
    with by_hand.liar(work / "m", vm.name, vm.uuid, uid):
        result = give(vm, task, work / "m")
    assert_lives(vm, before, result)


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_invariant_5_a_monitor_that_has_the_uuid_of_another_vm(
    vm: Vm, work: Path, uid: int
) -> None:
    vm.attach([TAP, MACVTAP])
    before = vm.records()
    with by_hand.liar(work / "m", vm.name, vm.uuid, uid):
        name, options = detach(vm.uuid, qmp_socket=str(work / "m"), timeout=2)
        del options["uuid"]
        result = runner.run_module(name, options)
    assert_lives(vm, before, result)


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_invariant_5_nobody_can_prevent_the_start_of_a_vm(vm: Vm, uid: int) -> None:
    words = ["qemu-x", "-c", "read x", "-uuid", vm.uuid, "-name", vm.name]
    with subprocess.Popen(
        words, executable="/bin/sh", stdin=subprocess.PIPE, user=uid
    ) as child:
        result = vm.attach([TAP])
        child.kill()
    assert not result.get("failed"), result
    assert result["vm"]["started"]


def test_invariant_5_a_name_with_a_comma(other: Vm, work: Path) -> None:
    vm, called = other, f"{other.name},x"
    with by_hand.qemu(work / "m", "-name", f"guest={called.replace(',', ',,')}"):
        name, options = attach(vm.uuid, [TAP], qmp_socket=str(work / "m"))
        told = runner.run_module(name, {**options, "name": called})
        assert not told.get("failed"), told
        before = vm.records()
        # A missing monitor does not prove that the VM has ended.
        name, options = detach(vm.uuid, qmp_socket=str(work / "none"))
        result = runner.run_module(name, {**options, "name": called})
        assert result["failed"], result
        assert vm.records() == before
        name, options = detach(vm.uuid, qmp_socket=str(work / "m"), force=True)
        result = runner.run_module(name, {**options, "name": called})
        assert not result.get("failed"), result


def test_invariant_5_a_namesake_is_not_started(vm: Vm, other: Vm) -> None:
    vm.attach([TAP])
    result = other.attach([], name=vm.name)
    assert result["failed"], result
    assert vm.uuid in result["msg"]
    assert other.records() == []
    assert witness.qemus(other.uuid) == []
    assert not os.path.exists(f"{witness.STATE}/{other.uuid}")


def test_invariant_5_a_vm_that_proxmox_started(vm: Vm, work: Path) -> None:
    """argv[0] is a link, and only -smbios has the UUID."""
    link = work / "kvm"
    link.symlink_to("/usr/bin/qemu-system-x86_64")
    words = ("-smbios", f"type=1,uuid={vm.uuid}", "-name", vm.name)
    with by_hand.qemu(work / "m", *words, program=str(link)):
        for action in ("attached", "unchanged"):
            result = vm.attach([TAP_WITHOUT_VHOST], qmp_socket=str(work / "m"))
            assert not result.get("failed"), result
            assert [each["action"] for each in result["interfaces"]] == [action]
        told = vm.info(verify=True)
        assert [grant["live"] for grant in told["grants"]] == [True]
        assert told["findings"] == []
        result = vm.detach(qmp_socket=str(work / "m"), force=True)
        assert not result.get("failed"), result
