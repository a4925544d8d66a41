# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM of the collection has only network devices that a task opened.

If it gets another one, the module reports it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.attack import by_hand
from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm
from ansible_collections.virtaudit.qemu.tests.fault import host, qmp, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import MACS, TAP
from ansible_collections.virtaudit.qemu.tests.support.warning_texts import (
    warning_texts,
)

# linux/if_tun.h: TUNSETIFF; IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_TUNSETIFF = 0x400454CA
_FLAGS = 0x0002 | 0x1000 | 0x4000
STRANGE = "vafault-tap"


@pytest.fixture(name="node")
def fixture_node() -> Iterator[str]:
    """Make a macvtap, and yield the path of its node."""
    words = ["link", host.LOWER, "name", STRANGE, "type", "macvtap", "mode", "bridge"]
    subprocess.run(["ip", "link", "add", *words], check=True)
    try:
        with open(f"/sys/class/net/{STRANGE}/ifindex", encoding="ascii") as handle:
            yield f"/dev/tap{int(handle.read())}"
    finally:
        subprocess.run(["ip", "link", "del", STRANGE], check=True)


def tap_by(node: str) -> int:
    """Make a tap through a node of /dev/net/tun. Return its descriptor."""
    fd = os.open(node, os.O_RDWR)
    request = struct.pack("=16sH22x", STRANGE.encode(), _FLAGS)
    fcntl.ioctl(fd, _TUNSETIFF, request)
    return fd


@pytest.mark.parametrize("nics", [[], [TAP]], ids=["none", "tap"])
def test_invariant_6_qemu_starts_with_a_device_of_its_own(
    vm: Vm, work: Path, node: str, nics: list[dict[str, str]]
) -> None:
    wrapper = work / "wrapper"
    wrapper.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec qemu-system-x86_64 "$@"\n'
        f'exec 9<>{node}\nexec qemu-system-x86_64 "$@"\n'
    )
    wrapper.chmod(0o755)
    result = vm.attach(nics, {"binary": str(wrapper)})
    assert result["failed"], result
    assert node in result["msg"]
    assert STRANGE in result["msg"]
    assert witness.qemus(vm.uuid) == []
    (started,) = (each for each in vm.records() if each.get("op") == "start")
    assert started["res"] == "failed"
    assert witness.violations(vm.uuid, MACS, [], False) == []


def test_invariant_6_a_device_that_is_added_by_hand_is_reported(vm: Vm) -> None:
    started = vm.attach([TAP])
    assert "warnings" not in started
    fd = tap_by("/dev/net/tun")
    qmp.call(started["vm"]["qmp_socket"], "add-fd", fd=fd)
    os.close(fd)
    again = vm.attach([TAP])
    (warning,) = warning_texts(again)
    assert STRANGE in warning
    assert f"pid {vm.pid()}" in warning
    assert "is not on record" in warning
    told = vm.info(verify=True)
    found = [each for each in told["findings"] if each["code"] == "unrecorded_fd"]
    assert [(each["dev"], each["pid"]) for each in found] == [(STRANGE, vm.pid())]


def test_invariant_6_a_tap_by_another_node_is_seen(vm: Vm, work: Path) -> None:
    node = str(work / "mine")
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(10, 200))
    with by_hand.qemu(work / "m", "-uuid", vm.uuid) as pid:
        fd = tap_by(node)
        qmp.call(str(work / "m"), "add-fd", fd=fd)
        os.close(fd)
        told = vm.info(verify=True)
        found = [(each["code"], each["dev"]) for each in told["findings"]]
        assert found == [("unrecorded_fd", STRANGE)]
        assert told["findings"][0]["pid"] == pid


def test_invariant_4_a_tap_of_ours_that_came_by_another_node(
    vm: Vm, work: Path
) -> None:
    """Somebody else gave the VM its NIC. A detach records the device that it closes."""
    node = str(work / "mine")
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(10, 200))
    mac = str(TAP["mac"])
    with by_hand.qemu(work / "m", "-uuid", vm.uuid, "-name", vm.name):
        monitor = str(work / "m")
        fd = tap_by(node)
        qmp.call(monitor, "getfd", {"fdname": "f"}, fd=fd)
        os.close(fd)
        qmp.call(monitor, "netdev_add", {"type": "tap", "id": "n", "fd": "f"})
        card = {"driver": "virtio-net-pci", "id": "c", "netdev": "n", "mac": mac}
        qmp.call(monitor, "device_add", {**card, "bus": "rp1", "addr": "0x0"})
        result = vm.detach(qmp_socket=monitor, force=True)
        assert [each["action"] for each in result["interfaces"]] == ["revoked"]
        recorded = [(each["reason"], each["res"]) for each in vm.records()]
        assert recorded == [("detach", "success"), ("close", "success")]
        assert not os.path.exists(f"/sys/class/net/{STRANGE}")
