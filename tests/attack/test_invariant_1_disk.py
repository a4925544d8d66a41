# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""While the audit daemon keeps no records, qemu gets nothing, whatever the kernel echoes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from ansible_collections.virtaudit.qemu.tests.attack.conftest import (
    TAP_WITHOUT_VHOST,
    Vm,
    warnings_of,
)
from ansible_collections.virtaudit.qemu.tests.fault import host, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import MACS, MACVTAP

_HEADER = struct.Struct("=IHHII")
# linux/audit.h: AUDIT_SET, AUDIT_STATUS_PID; NLM_F_REQUEST, NLM_F_ACK
_AUDIT_SET, _STATUS_PID, _FLAGS = 1001, 0x4, 0x1 | 0x4


@pytest.fixture(name="suspended")
def fixture_suspended() -> Iterator[None]:
    """Provide a daemon that has suspended its logging because its disk is full."""
    with host.small_log():
        host.suspend_logging()
        try:
            yield
        finally:
            host.resume_logging()


@pytest.fixture(name="zombie")
def fixture_zombie() -> Iterator[int]:
    """Provide a registered daemon that is a zombie, and yield its pid. Another process keeps its socket open."""
    host.stop_auditd()
    ready, written = os.pipe()
    pid = os.fork()
    if pid == 0:
        _register_and_die(written)
    holder = int(os.read(ready, 20))
    try:
        while not _is_zombie(pid):
            time.sleep(0.01)
        assert host.status()["pid"] == pid
        yield pid
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(pid, 0)
        host.start_auditd()


def _register_and_die(ready: int) -> None:
    with contextlib.suppress(BaseException):
        connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
        status = struct.pack("=10I", _STATUS_PID, 1, 0, os.getpid(), *[0] * 6)
        head = _HEADER.pack(16 + len(status), _AUDIT_SET, _FLAGS, 1, 0)
        connection.sendto(head + status, (0, 0))
        holder = os.fork()
        if holder == 0:
            while True:
                connection.recv(16384)
        os.write(ready, str(holder).encode())
    os._exit(0)


def _is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii") as handle:
        return handle.read().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.usefixtures("suspended")
def test_invariant_1_no_vm_starts_while_the_daemon_drops_records(vm: Vm) -> None:
    started = vm.attach([TAP_WITHOUT_VHOST, MACVTAP])
    assert started["failed"]
    assert "The daemon has suspended its logging ('kill -USR2" in started["msg"]
    assert "Nothing more was handed to qemu" in started["msg"]
    assert witness.qemus(vm.uuid) == []
    assert witness.links(MACS) == set()


@pytest.mark.usefixtures("suspended")
def test_invariant_1_best_effort_warns(vm: Vm) -> None:
    started = vm.attach([TAP_WITHOUT_VHOST], audit="best_effort")
    assert not started.get("failed"), started
    assert "The daemon has suspended its logging" in warnings_of(started)
    assert len(witness.held(vm.pid())) == 2
    # A stop works without proof, too.
    stopped = vm.detach(stop_vm="destroy", audit="best_effort")
    assert not stopped.get("failed"), stopped
    assert vm.records() == []


def test_invariant_2_a_later_task_records_what_the_daemon_dropped(
    vm: Vm,
) -> None:
    with host.small_log():
        assert not vm.attach([TAP_WITHOUT_VHOST, MACVTAP]).get("failed")
        host.suspend_logging()
        try:
            dropped = vm.detach(force=True, timeout=0.2)
        finally:
            host.resume_logging()
        assert "The daemon has suspended its logging" in dropped["msg"]
        vm.detach(stop_vm="destroy")
        assert witness.violations(vm.uuid, MACS, [], running=False) == []
        done = [each.get("reason") for each in vm.records() if each["res"] == "success"]
        assert done.count("detach") == 2
        assert done.count("close") == done.count("open") == 3


def test_invariant_1_a_zombie_does_not_count_as_a_daemon(vm: Vm, zombie: int) -> None:
    for check_mode in (True, False):
        started = vm.attach([TAP_WITHOUT_VHOST], _ansible_check_mode=check_mode)
        assert started["failed"]
        assert f"the audit daemon (pid {zombie}) has died" in started["msg"]
    assert witness.qemus(vm.uuid) == []
    assert witness.links(MACS) == set()
