# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a host with many filtered NICs, and measures the time that the filter adds to a frame."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.module_utils._net.addresses import (
    parse_addresses,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter import nft
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter.elements import (
    Rights,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter.ruleset import (
    TABLE,
)
from ansible_collections.virtaudit.qemu.tests.benchmark.support import host

_TUNSETIFF = 0x400454CA
_IFF_TAP_NO_PI = 0x1002
_FRAMES = 20000
_OWN, _PEER = "52:54:00:be:fe:01", "52:54:00:be:fe:02"


def rights(ifname: str, number: int) -> Rights:
    """Return the rights of a NIC with an address of each family."""
    index = int(Path(f"/sys/class/net/{ifname}/ifindex").read_text("ascii"))
    addresses = [f"10.{number >> 8}.{number & 255}.7", f"2001:db8::{number:x}:7"]
    mac = _OWN if number == 0 else f"52:54:00:bf:{number >> 8:02x}:{number & 255:02x}"
    return Rights(index, mac, "address", parse_addresses("addresses", addresses), False)


@contextlib.contextmanager
def crowd(count: int) -> Iterator[None]:
    """Add so many other filtered NICs to the host, of VMs that send nothing."""
    names = [f"vabench-c{number}" for number in range(1, count + 1)]
    try:
        _batch([f"tuntap add mode tap name {name}" for name in names])
        for number, name in enumerate(names, 1):
            nft.put("bridge", name, rights(name, number))
        yield
    finally:
        _batch([f"link del {name}" for name in names])
        remove_table()


def remove_table() -> None:
    """Remove the filter's table. No other VM on this host may have filtered NICs."""
    subprocess.run(
        ["nft", "delete", "table", "bridge", TABLE], check=False, capture_output=True
    )


def _batch(commands: list[str]) -> None:
    subprocess.run(
        ["ip", "-batch", "-"],
        input="".join(f"{command}\n" for command in commands),
        text=True,
        check=True,
    )


class Sender:
    """The port of a guest that sends to another port of the bridge, whose MAC the bridge knows."""

    def __init__(self, filtered: bool) -> None:
        self._taps = [_tap("vabench-snd"), _tap("vabench-rcv")]
        for name in ("vabench-snd", "vabench-rcv"):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
            commands = (f"{name} master {host.BRIDGE}", f"{name} up")
            _batch([f"link set {command}" for command in commands])
        if filtered:
            nft.put("bridge", "vabench-snd", rights("vabench-snd", 0))
        os.write(self._taps[1], _frame(_PEER, _OWN))
        self._frame = _frame(_OWN, _PEER)

    def microseconds(self) -> float:
        """Return the time of one frame of UDP from the guest's side to the other port."""
        sender = self._taps[0]
        begin = time.perf_counter()
        for _number in range(_FRAMES):
            os.write(sender, self._frame)
        return (time.perf_counter() - begin) * 1e6 / _FRAMES

    def passed(self) -> bool:
        """Tell whether the frames arrived at the other port. Its queue holds a few hundred frames."""
        os.set_blocking(self._taps[1], False)
        with contextlib.suppress(BlockingIOError):
            while True:
                if os.read(self._taps[1], 2000) == self._frame:
                    return True
        return False

    def close(self) -> None:
        """Remove both ports."""
        for tap in self._taps:
            os.close(tap)


def _tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP_NO_PI))
    return tap


def _frame(source: str, target: str) -> bytes:
    macs = bytes.fromhex((target + source).replace(":", ""))
    udp = struct.pack("!HHHH", 40000, 40001, 8 + 64, 0) + bytes(64)
    words = [0x4500, 20 + len(udp), 1, 0, 64 << 8 | 17, 0, 0x0A00, 7, 0x0A00, 9]
    # br_netfilter drops a packet with a wrong checksum.
    words[5] = 0xFFFF - sum(words) % 0xFFFF
    return macs + struct.pack("!11H", 0x0800, *words) + udp
