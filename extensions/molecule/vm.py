# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop one virtual hypervisor. Run by the default scenario's create and destroy.

``vm.py accel`` says how VMs run here, ``vm.py start`` boots one, ``vm.py stop`` ends it.
RUN is the directory of a run; each VM keeps in RUN/<name> its pid, the port of 127.0.0.1 that
leads to its sshd, a key that may log in, its host key and its console's output.
"""

from __future__ import annotations

import argparse
import base64
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

QEMU = "qemu-system-x86_64"
GUEST = Path(__file__).resolve().parents[2] / "tests" / "support" / "guest" / "build"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accelerator() -> str:
    """``kvm`` where a Linux guest comes up with it, else ``tcg``.

    That /dev/kvm opens is not enough: nested in some machines, guests hang in it.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
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
                        return "kvm"
            finally:
                qemu.kill()
    return "tcg"


def command(options: argparse.Namespace, home: Path, port: int) -> list[str]:
    key = base64.b64encode((home / "key.pub").read_bytes()).decode()
    image: Path = options.image
    append = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off"
    if options.accel == "tcg":
        # One of Ansible's modules took 3.4 s so, and 4.0 s at other addresses each time.
        append += " norandmaps"
    return [
        *(QEMU, "-name", f"virtaudit-{options.name}", "-machine", "q35"),
        *(
            "-accel",
            options.accel,
            "-cpu",
            "host" if options.accel == "kvm" else options.cpu,
        ),
        *("-m", "1024", "-nodefaults", "-display", "none"),
        *("-serial", f"file:{home / 'console.log'}"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")),
        *("-append", f"{append} virtaudit.key={key}"),
        # What the VM writes is gone when it ends: the image stays as it was built, and no write waits.
        *(
            "-drive",
            f"file={image / 'root.img'},if=virtio,format=raw,snapshot=on,cache=unsafe",
        ),
        # restrict: nothing that the VM sends leaves this machine.
        *("-netdev", f"user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net0", "-device", "virtio-rng-pci"),
        *("-pidfile", str(home / "pid"), "-daemonize"),
    ]


def process(home: Path) -> int | None:
    """A pidfd of the VM's qemu, or None. Taken before the look at its command line, so that
    it cannot come to mean another process."""
    try:
        pid = int((home / "pid").read_text())
        handle = os.pidfd_open(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        arguments = []
    if os.fsencode(home / "pid") in arguments:
        return handle
    os.close(handle)
    return None


def start(options: argparse.Namespace) -> str:
    home: Path = options.run / options.name
    home.mkdir(parents=True, exist_ok=True)
    if process(home) is not None:
        return "running"
    (home / "pid").unlink(missing_ok=True)
    if not (home / "key").exists():
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "molecule"]
        subprocess.run([*generate, "-f", str(home / "key")], check=True)
    host_key = (options.image / "host_key.pub").read_text().split()
    for last in (False, False, True):
        port = free_port()
        done = subprocess.run(command(options, home, port), check=False)
        if done.returncode == 0:
            break
        # Another process may have taken the port in between.
        if last:
            raise SystemExit(f"qemu did not start {options.name}")
    known = f"[127.0.0.1]:{port} {host_key[0]} {host_key[1]}\n"
    (home / "known_hosts").write_text(known)
    (home / "port").write_text(f"{port}\n")
    return "started"


def stop(options: argparse.Namespace) -> str:
    home: Path = options.run / options.name
    handle = process(home)
    if handle is None:
        return "absent"
    # Nothing in it is worth an orderly shutdown.
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    ended, _writable, _broken = select.select([handle], [], [], 10)
    if not ended:
        raise SystemExit(f"qemu of {options.name} does not end")
    (home / "pid").unlink(missing_ok=True)
    return "stopped"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("accel")
    for action in ("start", "stop"):
        wanted = actions.add_parser(action)
        wanted.add_argument("--run", type=Path, required=True)
        wanted.add_argument("--name", required=True)
        if action == "start":
            wanted.add_argument("--image", type=Path, required=True)
            wanted.add_argument("--accel", required=True)
            wanted.add_argument("--cpu", required=True)
    options = parser.parse_args()
    if options.action == "accel":
        print(accelerator())
    else:
        print(start(options) if options.action == "start" else stop(options))


if __name__ == "__main__":
    main()
