# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""While any process holds a device, under any descriptor or path, no record says that it was given up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.attack import by_hand
from ansible_collections.virtaudit.qemu.tests.attack.conftest import (
    TAP_WITHOUT_VHOST,
    Vm,
)
from ansible_collections.virtaudit.qemu.tests.fault import host, qmp, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    MACVTAP,
    TAP,
)

_PROXY = Path(__file__).parents[1] / "integration/targets/setup_host/files" / "qmp.py"
ONE_TAP = {**TAP_WITHOUT_VHOST, "queues": 1}
NICS = [ONE_TAP, MACVTAP]


def given_up(vm: Vm) -> list[tuple[str, str]]:
    """Return the reason and the MAC of each record that says that something was given up."""
    return [
        (each["reason"], each.get("net") or each["old-net"])
        for each in vm.records()
        if each.get("reason") in ("detach", "close") and each["res"] == "success"
    ]


def assert_settled(vm: Vm, mac: str) -> None:
    """Require that a later task records the rest once."""
    result = vm.detach(force=True)
    assert not result.get("failed"), result["msg"]
    assert sorted(given_up(vm)) == [("close", mac), ("detach", mac)]
    assert witness.violations(vm.uuid, MACS, [], True) == []
    assert not witness.links(MACS)


def descriptor(vm: Vm) -> int:
    """Return the number that a VM's qemu has for its one device."""
    held = list(witness.held(vm.pid()))
    assert len(held) == 1
    return held[0]


@pytest.mark.parametrize("nic", NICS, ids=["tap", "macvtap"])
def test_invariant_4_another_process_has_a_copy(vm: Vm, nic: dict[str, str]) -> None:
    vm.attach([nic])
    copy = by_hand.copy_of(vm.pid(), descriptor(vm))
    try:
        result = vm.detach(force=True)
        assert result["failed"], result
        assert f"pid {os.getpid()} " in result["msg"]
        assert [each["action"] for each in result["interfaces"]] == ["pending"]
        assert given_up(vm) == []
        assert witness.links(MACS)
    finally:
        os.close(copy)
    assert_settled(vm, nic["mac"])


@pytest.mark.parametrize("nic", NICS, ids=["tap", "macvtap"])
def test_invariant_4_qemu_has_a_copy_at_another_number(
    vm: Vm, nic: dict[str, str]
) -> None:
    monitor = vm.attach([nic])["vm"]["qmp_socket"]
    copy = by_hand.copy_of(vm.pid(), descriptor(vm))
    qmp.call(monitor, "getfd", {"fdname": "kept"}, fd=copy)
    os.close(copy)
    result = vm.detach(force=True)
    assert result["failed"], result
    assert given_up(vm) == []
    # The same holds for a task that finds the NIC removed and the device still open.
    result = vm.detach(force=True)
    assert result["failed"], result
    assert given_up(vm) == []
    qmp.call(monitor, "closefd", {"fdname": "kept"})
    assert_settled(vm, nic["mac"])


@pytest.mark.parametrize("nic", NICS, ids=["tap", "macvtap"])
def test_invariant_4_a_thread_of_qemu_has_a_copy_of_its_own(
    vm: Vm, work: Path, nic: dict[str, str]
) -> None:
    """/proc/<pid>/fd shows the descriptors of the first thread. Any thread can have others."""
    hide, hidden = work / "hide", work / "hidden"
    result = vm.attach([nic], {"binary": _hiding_qemu(work, hide, hidden)})
    assert not result.get("failed"), result["msg"]
    hide.touch()
    end = time.monotonic() + 10
    while not hidden.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    for _task in ("remove", "again"):
        result = vm.detach(force=True)
        assert result["failed"], result
        assert f"pid {vm.pid()} " in result["msg"]
        assert list(witness.held(vm.pid())) == []
        assert given_up(vm) == []
        assert witness.links(MACS)
    hidden.unlink()
    assert_settled(vm, nic["mac"])


def _hiding_qemu(work: Path, hide: Path, hidden: Path) -> str:
    """Return the path of a qemu whose thread hides copies of all descriptors between two events (see hider.c)."""
    library, program = work / "hider.so", work / "hiding-qemu"
    words = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library)]
    subprocess.run([*words, str(Path(__file__).with_name("hider.c"))], check=True)
    program.write_text(
        f"#!/bin/sh\nexport HIDE={hide} HIDDEN={hidden} LD_PRELOAD={library}\n"
        'exec qemu-system-x86_64 "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize("nic", NICS, ids=["tap", "macvtap"])
def test_invariant_4_a_vm_that_ends_leaves_a_holder(
    vm: Vm, nic: dict[str, str]
) -> None:
    pid = vm.attach([nic])["vm"]["pid"]
    copy = by_hand.copy_of(pid, descriptor(vm))
    try:
        for _task in ("stop", "again"):
            result = vm.detach(stop_vm="destroy")
            assert result["failed"], result
            assert f"pid {os.getpid()} " in result["msg"]
            assert given_up(vm) == []
    finally:
        os.close(copy)
    assert not vm.detach().get("failed")
    assert sorted(given_up(vm)) == [("close", nic["mac"]), ("detach", nic["mac"])]
    stops = [each for each in vm.records() if each.get("op") == "stop"]
    assert [each["reason"] for each in stops] == ["destroyed"]
    assert witness.violations(vm.uuid, MACS, [], False) == []


def test_invariant_4_a_wrapper_that_forks(vm: Vm, work: Path) -> None:
    wrapper = work / "wrapper"
    wrapper.write_text('#!/bin/sh\nqemu-system-x86_64 "$@" &\nwait\n')
    wrapper.chmod(0o755)
    result = vm.attach([TAP, MACVTAP], {"binary": str(wrapper)})
    assert result["failed"], result
    assert "starts qemu as another process" in result["msg"]
    assert witness.qemus(vm.uuid) == []
    assert witness.violations(vm.uuid, MACS, [], False) == []


def test_invariant_4_a_getfd_that_is_not_answered(vm: Vm, work: Path) -> None:
    """The descriptor waits in the socket of a stopped qemu."""
    words = ["-name", f"guest={vm.name}", "-uuid", vm.uuid]
    with by_hand.qemu(work / "m", *words) as pid:
        with _stopped(work, pid, "getfd", "before"):
            result = vm.attach([ONE_TAP], qmp_socket=str(work / "p"), timeout=1)
            assert result["failed"], result
            assert witness.links(MACS)
            assert given_up(vm) == []
        result = vm.attach([ONE_TAP], qmp_socket=str(work / "m"))
        assert not result.get("failed"), result["msg"]
        assert witness.violations(vm.uuid, MACS, [str(TAP["mac"])], True) == []
        result = vm.detach(qmp_socket=str(work / "m"), force=True)
        assert not result.get("failed"), result["msg"]
        assert witness.violations(vm.uuid, MACS, [], True) == []


def test_invariant_2_an_attach_neither_recorded_nor_taken_back(
    vm: Vm, work: Path
) -> None:
    """From the moment at which qemu has the NIC, auditing is off and qemu is stopped."""
    words = ["-name", f"guest={vm.name}", "-uuid", vm.uuid]
    with by_hand.qemu(work / "m", *words) as pid:
        try:
            with _stopped(work, pid, "device_add", "after", "auditctl -e 0"):
                result = vm.attach([ONE_TAP], qmp_socket=str(work / "p"), timeout=1)
                assert result["failed"], result
                assert len(witness.held(pid)) == 1
        finally:
            host.enable_audit()
        # qemu has carried out the commands that came meanwhile, or carries them out now.
        result = vm.detach(qmp_socket=str(work / "m"), force=True)
        assert not result.get("failed"), result["msg"]
        assert witness.violations(vm.uuid, MACS, [], True) == []
        result = vm.attach([ONE_TAP], qmp_socket=str(work / "m"))
        assert not result.get("failed"), result["msg"]
        assert witness.violations(vm.uuid, MACS, [str(TAP["mac"])], True) == []


@contextlib.contextmanager
def _stopped(
    work: Path, pid: int, command: str, when: str, also: str = "true"
) -> Iterator[None]:
    """Relay a monitor, and stop qemu before or after it carries out a command.

    ``also`` is a shell command that runs first.
    """
    words = [sys.executable, str(_PROXY), "proxy", str(work / "pid")]
    words += [str(work / "p"), str(work / "m"), command, when]
    action = f"{also} && kill -STOP {pid}"
    subprocess.run([*words, "run", "sh", "-c", action], check=True)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((work / "pid").read_text(encoding="ascii")), signal.SIGTERM)


def test_invariant_4_a_vm_keeps_no_port_and_no_mac(vm: Vm) -> None:
    """A detach takes the NIC from a stopped guest, too. The test does it twenty times."""
    qemu = {"hotplug_ports": 1}
    assert not vm.attach([], qemu).get("failed")
    for _time in range(20):
        result = vm.attach([ONE_TAP])
        assert not result.get("failed"), result["msg"]
        result = vm.detach(force=True)
        assert not result.get("failed"), result["msg"]
        assert [nic["pending"] for nic in result["interfaces"]] == [False]
