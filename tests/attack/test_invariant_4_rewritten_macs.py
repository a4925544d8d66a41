# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""If a guest gives its NIC the MAC of another NIC, a detach closes the right NIC, and no other."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm
from ansible_collections.virtaudit.qemu.tests.fault import host, qmp, witness

REWRITTEN = {
    "mac": "52:54:00:fa:17:01",
    "source": host.BRIDGE,
    "model": "vmxnet3",
    "vhost": "off",
}
OTHER = {"mac": "52:54:00:fa:17:02", "source": host.BRIDGE, "vhost": "off"}
MACS = [str(REWRITTEN["mac"]), str(OTHER["mac"])]
# hw/net/vmxnet3.c: in BAR 1, the first four bytes of the MAC and the last two.
_MACL, _MACH = 0x28, 0x30
_FIRMWARE_SECONDS = 60
_STUB_SECONDS, _STUB_TRIES = 2, 15


class Memory:
    """The memory of a guest, through gdb's remote protocol. A write to it has the effect of a driver in the guest."""

    def __init__(self, monitor: str, path: Path) -> None:
        hmp(monitor, f"gdbserver unix:{path},server=on,wait=off")
        self._stub = socket.socket(socket.AF_UNIX)
        self._stub.settimeout(_STUB_SECONDS)
        self._stub.connect(str(path))
        # Addresses are physical, so that writes reach devices, too.
        self._ask("Qqemu.PhyMemMode:1")

    def write(self, address: int, data: bytes) -> None:
        """Write bytes at a physical address."""
        self._ask(f"M{address:x},{len(data):x}:{data.hex()}")

    def close(self) -> None:
        """Let the guest continue."""
        self._ask("D")
        self._stub.close()

    def _ask(self, packet: str) -> None:
        checksum = sum(packet.encode()) % 256
        for _try in range(_STUB_TRIES):
            self._stub.sendall(f"${packet}#{checksum:02x}".encode())
            # If the guest still runs, the first packet only stops it, and has to be sent again.
            with contextlib.suppress(socket.timeout):
                said = b""
                while not said.endswith(b"$OK#9a"):
                    data = self._stub.recv(4096)
                    assert data, said
                    said += data
                self._stub.sendall(b"+")
                return
        raise AssertionError(f"the stub does not answer to {packet}")


def hmp(monitor: str, line: str) -> str:
    """Let qemu run a command of its human monitor. Return its output."""
    given = {"command-line": line}
    return str(qmp.call(monitor, "human-monitor-command", given))


def registers(monitor: str) -> int:
    """Return where the firmware has mapped vmxnet3's registers."""
    deadline = time.monotonic() + _FIRMWARE_SECONDS
    while time.monotonic() < deadline:
        # 15ad:07b0 is vmxnet3. Its addresses are all ones until somebody sets them.
        found = re.search(
            r"PCI device 15ad:07b0.*?BAR1: 32 bit memory at (0x[0-9a-f]+) ",
            hmp(monitor, "info pci"),
            re.DOTALL,
        )
        if found is not None and int(found[1], 16) < 0xFFFFFFFF:
            return int(found[1], 16)
        time.sleep(0.05)
    raise AssertionError("the firmware does not map the registers")


def rewrite_mac(monitor: str, work: Path, mac: str) -> None:
    """Do what a guest's driver does to give its vmxnet3 a MAC."""
    base, address = registers(monitor), bytes.fromhex(mac.replace(":", ""))
    memory = Memory(monitor, work / "gdb")
    memory.write(base + _MACL, address[:4])
    memory.write(base + _MACH, address[4:] + bytes(2))
    memory.close()
    hmp(monitor, "gdbserver none")


def reported_macs(monitor: str) -> list[str]:
    """Return the MACs that qemu reports for its NICs."""
    listed = qmp.call(monitor, "qom-list", {"path": "/machine/peripheral"})
    paths = [f"/machine/peripheral/{each['name']}" for each in listed]
    asked = ({"path": path, "property": "mac"} for path in paths)
    told = [qmp.call(monitor, "qom-get", each) for each in asked]
    return [each for each in told if isinstance(each, str)]


@pytest.mark.parametrize("detached", MACS, ids=["rewritten", "other"])
def test_invariant_4_the_nic_that_the_task_names_loses_its_devices(
    vm: Vm, work: Path, detached: str
) -> None:
    started = vm.attach([REWRITTEN, OTHER], {"paused": False})
    assert not started.get("failed"), started
    monitor = started["vm"]["qmp_socket"]
    rewrite_mac(monitor, work, MACS[1])
    assert reported_macs(monitor) == [MACS[1]] * 2
    (kept,) = (mac for mac in MACS if mac != detached)
    again = vm.attach([REWRITTEN, OTHER])
    assert [nic["action"] for nic in again["interfaces"]] == ["unchanged"] * 2
    done = vm.detach(macs=[detached], force=True)
    assert not done.get("failed"), done
    acted = [(nic["mac"], nic["action"]) for nic in done["interfaces"]]
    assert acted == [(detached, "revoked")]
    assert witness.violations(vm.uuid, MACS, [kept], True) == []
    told = vm.info(verify=True)
    live = [(each["mac"], each["live"]) for each in told["grants"]]
    assert live == [(kept, True)]
    assert told["findings"] == []
