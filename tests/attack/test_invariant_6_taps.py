# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tap belongs to its VM alone, and no other process can join it."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Any

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import DeviceError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import device
from ansible_collections.virtaudit.qemu.tests.attack.attacker import (
    DONE,
    try_as,
)
from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm
from ansible_collections.virtaudit.qemu.tests.fault import witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import MACS, TAP

# linux/if_tun.h: TUNSETIFF, TUNSETOWNER; IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE
_TUNSETIFF, _TUNSETOWNER = 0x400454CA, 0x400454CC
_FLAGS = 0x0002 | 0x1000 | 0x4000 | 0x0100


def test_invariant_6_nobody_joins_a_tap_with_several_queues(vm: Vm, node: str) -> None:
    started = vm.attach([TAP])
    assert not started.get("failed"), started
    (ifname,) = witness.links(MACS)

    def join() -> None:
        fd = os.open(node, os.O_RDWR)
        request = struct.pack("=16sH22x", ifname.encode(), _FLAGS)
        fcntl.ioctl(fd, _TUNSETIFF, request)
        # An Ethernet frame with virtio-net's header before it.
        os.write(fd, bytes(10) + b"\xff" * 12 + bytes(48))

    assert try_as(lambda: os.close(os.open(node, os.O_RDWR))) == DONE
    assert try_as(join) == "EPERM"


def test_invariant_6_a_process_that_joined_before_the_owner_was_set_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ioctl = fcntl.ioctl
    joined = []

    def join_first(fd: int, request: int, argument: Any) -> Any:
        if request == _TUNSETOWNER:
            joined.append(os.open("/dev/net/tun", os.O_RDWR))
            ioctl(joined[0], _TUNSETIFF, struct.pack("=16sH22x", b"vafault0", _FLAGS))
        return ioctl(fd, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", join_first)
    opened = device.open_node("/dev/net/tun")
    try:
        with pytest.raises(DeviceError, match="vafault0 has 2 queues right after"):
            device.become_tap(opened, "vafault0", queues=2, first=True)
    finally:
        for fd in (opened.fileno(), *joined):
            os.close(fd)
    assert joined
