# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The requests that turn a node into a queue, on a kernel that remembers them."""

from __future__ import annotations

import errno
import fcntl
import struct

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import DeviceError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import device, sysfs

# linux/if_tun.h
TUNSETIFF, TUNSETOWNER, TUNGETIFF = 0x400454CA, 0x400454CC, 0x800454D2
TAP, MULTI_QUEUE, NO_PI, VNET_HDR, EXCL = 0x0002, 0x0100, 0x1000, 0x4000, 0x8000
# qemu expects virtio's header before each frame, and no header of the kernel. Otherwise the guest gets garbage.
QEMU = TAP | NO_PI | VNET_HDR


class Kernel:
    """Answers the ioctls of /dev/net/tun and /dev/tapN; ``drops`` are flags that it does not set."""

    def __init__(self, drops: int = 0) -> None:
        self.drops = drops
        self.asked: list[int] = []
        self.owner: int | None = None
        self.name = b""

    def ioctl(self, _opened: Device, request: int, given: bytes | int) -> bytes:
        if request == TUNSETOWNER:
            assert isinstance(given, int)
            self.owner = given
        elif request == TUNSETIFF:
            assert isinstance(given, bytes)
            self.name, flags = struct.unpack_from("=16sH", given)
            self.asked.append(flags)
        else:
            assert request == TUNGETIFF
            # TUN_EXCL belongs to the call, and not to the interface.
            flags = self.asked[-1] & ~EXCL & ~self.drops
            return struct.pack("=16sH22x", self.name, flags)
        return b""


@pytest.fixture(name="kernel")
def fixture_kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
    monkeypatch.setattr(sysfs, "transmit_queues", lambda _ifname: 1)
    return kernel


def opened(path: str) -> Device:
    return Device(path=path, rdev=None, dev=None, fd=-1)


@pytest.mark.parametrize(
    ("queues", "first", "flags"),
    [
        (1, True, QEMU | EXCL),
        (2, True, QEMU | MULTI_QUEUE | EXCL),
        (2, False, QEMU | MULTI_QUEUE),
    ],
)
def test_the_flags_of_a_tap(
    kernel: Kernel, queues: int, first: bool, flags: int
) -> None:
    node = opened("/dev/net/tun")
    device.become_tap(node, "vt0", queues, first)
    assert kernel.asked == [flags]
    assert kernel.owner == (0 if first else None)
    assert node.dev == "vt0"


@pytest.mark.parametrize(("queues", "flags"), [(1, QEMU), (4, QEMU | MULTI_QUEUE)])
def test_the_flags_of_a_macvtap(kernel: Kernel, queues: int, flags: int) -> None:
    node = opened("/dev/tap7")
    device.become_macvtap(node, "vt0", queues)
    assert kernel.asked == [flags]
    assert node.dev == "vt0"


def test_the_kernel_tells_which_link_an_open_node_serves(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = opened("/dev/net/tun")
    kernel.drops = VNET_HDR
    with pytest.raises(DeviceError, match="has the flags"):
        device.become_tap(node, "vt0", 1, True)
    assert device.serves(node, "vt0")
    assert not device.serves(node, "vt1")

    def refuse(*_given: object) -> bytes:
        raise OSError(errno.EBADFD, "File descriptor in bad state")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    assert not device.serves(node, "vt0")


@pytest.mark.parametrize("flag", [NO_PI, VNET_HDR, MULTI_QUEUE])
def test_a_flag_that_the_kernel_did_not_set(kernel: Kernel, flag: int) -> None:
    kernel.drops = flag
    tap, macvtap = opened("/dev/net/tun"), opened("/dev/tap7")
    with pytest.raises(DeviceError, match="has the flags"):
        device.become_tap(tap, "vt0", 2, True)
    with pytest.raises(DeviceError, match="has the flags"):
        device.become_macvtap(macvtap, "vt0", 2)
    assert (tap.dev, macvtap.dev) == (None, None)


def test_a_tap_that_another_process_has_joined(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysfs, "transmit_queues", lambda _ifname: 2)
    with pytest.raises(DeviceError, match="another process has joined it"):
        device.become_tap(opened("/dev/net/tun"), "vt0", 2, True)
    assert kernel.owner == 0
