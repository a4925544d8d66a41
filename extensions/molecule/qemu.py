# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual hypervisor as a VM of qemu, with its release's own kernel. See vm.py."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

QEMU = "qemu-system-x86_64"
GUEST = Path(__file__).resolve().parents[2] / "tests" / "support" / "guest" / "build"


def has_kvm() -> bool:
    """Return whether a Linux guest starts with KVM.

    It is not enough that /dev/kvm can be opened, because guests hang with nested KVM on some machines.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    built = subprocess.run([GUEST], stdout=subprocess.PIPE, text=True, check=True)
    images = Path(built.stdout.splitlines()[-1])
    with tempfile.TemporaryDirectory() as work:
        serial = Path(work) / "serial"
        machine = [QEMU, "-machine", "q35", "-accel", "kvm", "-m", "80", "-no-reboot"]
        screen = ["-nodefaults", "-display", "none", "-serial", f"file:{serial}"]
        kernel = ["-kernel", str(images / "vmlinuz"), "-initrd", str(images / "initrd")]
        with subprocess.Popen(
            [*machine, *screen, *kernel, "-append", "console=ttyS0 panic=-1"],
            stderr=subprocess.DEVNULL,
        ) as qemu:
            try:
                end = time.monotonic() + 5
                while qemu.poll() is None and time.monotonic() < end:
                    time.sleep(0.1)
                    if serial.exists() and b"GUEST-READY" in serial.read_bytes():
                        return True
            finally:
                qemu.kill()
    return False


def launch(options: argparse.Namespace, home: Path, append: str) -> None:
    """Start the VM. ``home/pid`` has its pid, and ``home/port`` the port of 127.0.0.1 that leads to its sshd."""
    for last in (False, False, True):
        port = _free_port()
        done = subprocess.run(_command(options, home, append, port), check=False)
        if done.returncode == 0:
            break
        # Another process may have taken the port meanwhile.
        if last:
            raise SystemExit(f"qemu did not start {options.name}")
    (home / "port").write_text(f"{port}\n")


def connect(home: Path) -> list[str]:
    """Return the command that connects its standard input and output with the VM's sshd."""
    return ["nc", "127.0.0.1", (home / "port").read_text().strip()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(
    options: argparse.Namespace, home: Path, append: str, port: int
) -> list[str]:
    image: Path = options.image
    append = f"root=/dev/vda console=ttyS0 mitigations=off {append}"
    if options.accel == "tcg":
        # With norandmaps a module of Ansible took 3.4 s, and without it 4.0 s. Without no_timer_check the kernel finds no
        # timer on a busy machine, and panics.
        append += " norandmaps no_timer_check"
    cpu = "host" if options.accel == "kvm" else options.cpu
    return [
        *(QEMU, "-name", f"virtaudit-{options.name}", "-machine", "q35"),
        *("-accel", options.accel, "-cpu", cpu),
        *("-m", "1024", "-nodefaults", "-display", "none"),
        *("-serial", f"file:{home / 'console.log'}"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")),
        *("-append", append),
        # The VM's changes of the disk are lost when it ends. So the image stays as it was built, and no write waits.
        *(
            "-drive",
            f"file={image / 'root.img'},if=virtio,format=raw,snapshot=on,cache=unsafe",
        ),
        # With restrict, nothing that the VM sends leaves this machine.
        *("-netdev", f"user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net0", "-device", "virtio-rng-pci"),
        *("-pidfile", str(home / "pid"), "-daemonize"),
    ]
