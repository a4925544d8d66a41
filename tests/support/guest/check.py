# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the guest that ``build`` makes boots, accepts and releases a NIC, and powers off.

Usage: python3 check.py [DIRECTORY]. Without a directory it builds the guest first. It needs qemu-system-x86_64,
but no privileges and no network, because the NIC's other end is an empty hub port.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

MAC = "52:54:00:aa:bb:01"
LIMIT = 60.0


class Guest:
    """A running guest with its QMP connection and its serial log."""

    def __init__(self, images: Path, work: Path, stack: ExitStack) -> None:
        self.start = time.monotonic()
        self.serial = work / "serial"
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    *(
                        "qemu-system-x86_64",
                        "-machine",
                        "q35",
                        "-accel",
                        "tcg",
                        "-m",
                        "80",
                    ),
                    *(
                        "-nodefaults",
                        "-display",
                        "none",
                        "-serial",
                        f"file:{self.serial}",
                    ),
                    *(
                        "-kernel",
                        str(images / "vmlinuz"),
                        "-initrd",
                        str(images / "initrd"),
                    ),
                    *("-append", "console=ttyS0 quiet no_timer_check"),
                    *("-device", "pcie-root-port,id=rp0,chassis=1,slot=1"),
                    *("-device", "pcie-root-port,id=rp1,chassis=2,slot=2"),
                    *("-netdev", "hubport,id=cold,hubid=1"),
                    *("-device", "virtio-net-pci,id=cold0,bus=rp1,addr=0,netdev=cold"),
                    *(
                        "-chardev",
                        f"socket,id=qmp,fd={theirs.fileno()}",
                        "-mon",
                        "qmp,mode=control",
                    ),
                ],
                pass_fds=[theirs.fileno()],
            )
        stack.callback(self.end)
        stack.enter_context(ours)
        ours.settimeout(LIMIT)
        self.socket = ours
        self.lines = stack.enter_context(ours.makefile("r", encoding="utf-8"))
        self.receive("QMP")
        self.command("qmp_capabilities")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def receive(self, *keys: str) -> dict[str, Any]:
        """Return the next message that has one of the keys."""
        while True:
            line = self.lines.readline()
            if not line:
                raise SystemExit(f"qemu closed its monitor while {keys} was awaited")
            message: dict[str, Any] = json.loads(line)
            if "error" in message:
                raise SystemExit(f"qemu: {message['error']}")
            if any(key in message for key in keys):
                return message

    def event(self, name: str, device: str | None = None) -> None:
        while True:
            message = self.receive("event")
            if (
                message["event"] == name
                and message.get("data", {}).get("device") == device
            ):
                return

    def command(self, name: str, **arguments: Any) -> None:
        text = json.dumps({"execute": name, "arguments": arguments})
        self.socket.sendall(text.encode() + b"\n")
        self.receive("return")

    def says(self, text: str) -> None:
        """Wait until the serial log holds the text."""
        end = time.monotonic() + LIMIT
        while text not in (log := self.serial.read_text(errors="replace")):
            if "GUEST-FAILED" in log or "Kernel panic" in log or time.monotonic() > end:
                raise SystemExit(f"the guest never said {text!r}:\n{log}")
            time.sleep(0.02)

    def report(self, what: str, since: float) -> None:
        print(f"{what}: {time.monotonic() - since:.2f} s")


def check(images: Path) -> None:
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        guest = Guest(images, work, stack)
        guest.says("GUEST-READY")
        guest.report("boot to GUEST-READY", guest.start)
        # The unplug follows at once. If a NIC is unplugged before the guest is ready, the guest never
        # releases it.
        since = time.monotonic()
        guest.command("device_del", id="cold0")
        guest.event("DEVICE_DELETED", "cold0")
        guest.report("unplug of a NIC from boot", since)
        guest.says("GUEST-NIC remove eth0")
        for turn in ("first", "second"):
            # Each turn looks for its own lines.
            guest.serial.write_text("")
            since = time.monotonic()
            guest.command("netdev_add", type="hubport", id="net0", hubid=0)
            guest.command(
                "device_add",
                driver="virtio-net-pci",
                id="nic0",
                bus="rp0",
                addr="0x0",
                netdev="net0",
                mac=MAC,
            )
            guest.says(f"GUEST-NIC add eth0 {MAC}")
            guest.report(f"{turn} plug to NIC up", since)
            since = time.monotonic()
            guest.command("device_del", id="nic0")
            guest.event("DEVICE_DELETED", "nic0")
            guest.report(f"{turn} unplug to DEVICE_DELETED", since)
            guest.says("GUEST-NIC remove eth0")
            guest.command("netdev_del", id="net0")
        since = time.monotonic()
        guest.command("system_powerdown")
        if guest.process.wait(LIMIT) != 0:
            raise SystemExit(f"qemu ended with {guest.process.returncode}")
        guest.report("power button to end of qemu", since)


def main(arguments: list[str]) -> None:
    if arguments:
        images = Path(arguments[0])
    else:
        build = Path(__file__).resolve().parent / "build"
        done = subprocess.run([build], stdout=subprocess.PIPE, text=True, check=True)
        images = Path(done.stdout.splitlines()[-1])
    check(images)
    print("guest: ok")


if __name__ == "__main__":
    main(sys.argv[1:])
