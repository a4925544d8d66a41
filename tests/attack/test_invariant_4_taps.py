# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest that has broken out of its qemu can do anything with its tap's descriptor, but it does not keep the network.

Other users can make links of the same name in namespaces of their own, but a task still gives the NIC up.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.virtaudit.qemu.tests.attack import by_hand
from ansible_collections.virtaudit.qemu.tests.attack.attacker import (
    CLONE_NEWNET,
    CLONE_NEWUSER,
    DONE,
    NOBODY,
    repeating,
    try_as,
    unshare,
)
from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm, warnings_of
from ansible_collections.virtaudit.qemu.tests.attack.test_invariant_4_holders import (
    NICS,
    ONE_TAP,
    assert_settled,
    descriptor,
    given_up,
)
from ansible_collections.virtaudit.qemu.tests.fault import witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    MACVTAP,
    TAP,
)

# linux/if_tun.h: TUNSETIFF, TUNSETPERSIST, TUNSETOWNER; IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
_FLAGS = 0x0002 | 0x1000 | 0x4000
# An Ethernet frame with virtio-net's header before it.
_FRAME = bytes(10) + b"\xff" * 12 + bytes(48)
_SECONDS = 10.0
# qemu runs without capabilities as the same user as the attacker.
_UNPRIVILEGED = {"user": "nobody"}


def open_tap(node: str, ifname: str) -> int:
    """Open a tap by its name. Make it if it does not exist. Return the descriptor."""
    fd = os.open(node, os.O_RDWR)
    try:
        request = struct.pack("=16sH22x", ifname.encode(), _FLAGS)
        fcntl.ioctl(fd, _TUNSETIFF, request)
    except OSError:
        os.close(fd)
        raise
    return fd


def broken_out(vm: Vm) -> int:
    """Make a VM's tap persistent, as the code of a guest in its qemu can. Return a copy of the descriptor."""
    copy = by_hand.copy_of(vm.pid(), descriptor(vm))
    assert try_as(lambda: fcntl.ioctl(copy, _TUNSETPERSIST, 1)) == DONE
    assert try_as(lambda: fcntl.ioctl(copy, _TUNSETOWNER, NOBODY)) == DONE
    return copy


@contextlib.contextmanager
def in_flight(fd: int) -> Iterator[Callable[[], int]]:
    """Keep a descriptor in a socket, where no process shows it. Yield a function that takes it out again."""
    near, far = socket.socketpair()
    with near, far:
        socket.send_fds(near, [b"x"], [fd])
        os.close(fd)
        yield lambda: socket.recv_fds(far, 1, 1)[1][0]


def revoke(vm: Vm) -> dict[str, Any]:
    """Revoke the NIC of a VM."""
    return vm.detach(force=True)


def stop(vm: Vm) -> dict[str, Any]:
    """Stop a VM."""
    return vm.detach(stop_vm="destroy")


def crash(vm: Vm) -> dict[str, Any]:
    """Kill the qemu of a VM. Its companion unit, or the next task, records the end."""
    pid = vm.pid()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _SECONDS
    while witness.lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return vm.detach()


@pytest.mark.parametrize("end", [revoke, stop, crash])
def test_invariant_4_a_persistent_tap_does_not_outlive_the_records(
    vm: Vm, node: str, end: Callable[[Vm], dict[str, Any]]
) -> None:
    mac = str(ONE_TAP["mac"])
    started = vm.attach([ONE_TAP], _UNPRIVILEGED)
    assert not started.get("failed"), started
    (ifname,) = witness.links(MACS)
    with in_flight(broken_out(vm)) as land:
        result = end(vm)
        assert not result.get("failed"), result["msg"]
        assert not witness.links(MACS)
        assert sorted(given_up(vm)) == [("close", mac), ("detach", mac)]
        copy = land()
    with pytest.raises(OSError, match=os.strerror(errno.EBADFD)):
        os.write(copy, _FRAME)
    os.close(copy)
    assert try_as(lambda: open_tap(node, ifname)) == "EPERM"
    if end is not crash:
        # A companion unit writes its warnings to the journal.
        assert f"made the tap {ifname} of {mac} persistent" in warnings_of(result)
    assert witness.violations(vm.uuid, MACS, [], end is revoke) == []
    # The NIC can be attached again.
    if end is revoke:
        again = vm.attach([ONE_TAP])
        assert not again.get("failed"), again["msg"]


def test_invariant_4_a_persistent_tap_that_a_process_holds(vm: Vm) -> None:
    vm.attach([ONE_TAP], _UNPRIVILEGED)
    copy = broken_out(vm)
    try:
        for _task in ("revoke", "again"):
            result = vm.detach(force=True)
            assert result["failed"], result
            assert f"pid {os.getpid()} " in result["msg"]
            assert given_up(vm) == []
            assert witness.links(MACS)
    finally:
        os.close(copy)
    assert_settled(vm, str(TAP["mac"]))


@contextlib.contextmanager
def namesake(node: str, ifname: str) -> Iterator[None]:
    """Let a user hold a tap with a given name in a network namespace of his own."""
    read_end, write_end = os.pipe()
    held: list[int] = []

    def hold() -> None:
        if not held:
            unshare(CLONE_NEWUSER | CLONE_NEWNET)
            held.append(open_tap(node, ifname))
            os.write(write_end, b"x")

    with repeating(hold):
        os.close(write_end)
        ready, _write, _error = select.select([read_end], [], [], _SECONDS)
        assert ready, "the user could not make a tap"
        assert os.read(read_end, 1) == b"x"
        yield
    os.close(read_end)


@pytest.mark.parametrize("nic", NICS, ids=["tap", "macvtap"])
def test_invariant_4_a_link_of_the_same_name_in_another_namespace(
    vm: Vm, node: str, nic: dict[str, str]
) -> None:
    vm.attach([nic], _UNPRIVILEGED)
    (ifname,) = witness.links(MACS)
    if nic is ONE_TAP:
        # The kernel removes a tap that is not persistent with its last descriptor. The other tap of that name does not matter.
        os.close(broken_out(vm))
    with namesake(node, ifname):
        result = vm.detach(force=True)
        assert not result.get("failed"), result["msg"]
        assert [each["action"] for each in result["interfaces"]] == ["revoked"]
    mac = nic["mac"]
    assert sorted(given_up(vm)) == [("close", mac), ("detach", mac)]
    assert witness.violations(vm.uuid, MACS, [], True) == []


@pytest.mark.parametrize("end", [stop, crash])
def test_invariant_4_the_end_of_a_vm_and_a_link_of_the_same_name(
    vm: Vm, node: str, end: Callable[[Vm], dict[str, Any]]
) -> None:
    vm.attach([MACVTAP], _UNPRIVILEGED)
    (ifname,) = witness.links(MACS)
    with namesake(node, ifname):
        result = end(vm)
        assert not result.get("failed"), result["msg"]
    mac = MACVTAP["mac"]
    assert sorted(given_up(vm)) == [("close", mac), ("detach", mac)]
    assert witness.violations(vm.uuid, MACS, [], False) == []
