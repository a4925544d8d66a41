# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs libvirt for the comparison: its daemons if none run, a domain like our VM, and the commands for virsh."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import subprocess
import time
import typing as t
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support.host import BRIDGE

VIRSH = ("virsh", "--connect", "qemu:///system", "--quiet")
_READY_SECONDS = 300


@contextlib.contextmanager
def daemons(work: Path) -> Iterator[None]:
    """Run libvirtd and virtlogd. At the end, end those that were started here, by their pids."""
    started: list[Path] = []
    before = _cgroups()
    try:
        if not _answers():
            for name in ("virtlogd", "libvirtd"):
                pid_file = work / f"{name}.pid"
                daemon = [f"/usr/sbin/{name}", "--daemon", "--pid-file", str(pid_file)]
                subprocess.run(daemon, check=True)
                started.append(pid_file)
        # At its first start libvirtd probes qemu, which can take minutes.
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers("capabilities"):
            if time.monotonic() > deadline:
                raise SystemExit("libvirtd does not answer")
            time.sleep(1)
        yield
    finally:
        for pid_file in reversed(started):
            _end(pid_file)
        for path in _cgroups() - before:
            with contextlib.suppress(OSError):
                os.rmdir(path)


@contextlib.contextmanager
def domain(name: str, xml: str, work: Path) -> Iterator[None]:
    """Define a domain. Destroy and undefine it at the end."""
    path = work / f"{name}.xml"
    path.write_text(xml, encoding="utf-8")
    virsh("define", str(path))
    try:
        yield
    finally:
        subprocess.run([*VIRSH, "destroy", name], check=False, capture_output=True)
        virsh("undefine", name)


def virsh(*arguments: str) -> None:
    """Run virsh, which must succeed."""
    subprocess.run([*VIRSH, *arguments], check=True, stdout=subprocess.DEVNULL)


def domain_xml(
    name: str, uuid: str, guest: Path, serial: Path | None, macs: Sequence[str]
) -> str:
    """Return a domain like the VM that vm_net_attach starts, with spare PCIe ports."""
    ports = "".join(
        f"<controller type='pci' index='{number}' model='pcie-root-port'/>"
        for number in range(1, 20)
    )
    console = (
        f"<serial type='file'><source path='{serial}'/><target port='0'/></serial>"
        if serial
        else ""
    )
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>80</memory><vcpu>1</vcpu>"
        f"<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{guest}/vmlinuz</kernel>"
        f"<initrd>{guest}/initrd</initrd><cmdline>console=ttyS0 quiet</cmdline></os><features><acpi/></features>"
        "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
        f"<controller type='pci' index='0' model='pcie-root'/>{ports}{''.join(map(nic_xml, macs))}{console}"
        "<memballoon model='none'/></devices></domain>"
    )


def nic_xml(mac: str) -> str:
    """Return a NIC on the bridge in the form that virsh attach-device accepts."""
    return (
        f"<interface type='bridge'><source bridge='{BRIDGE}'/><mac address='{mac}'/>"
        "<model type='virtio'/></interface>"
    )


def command(*arguments: str) -> dict[str, t.Any]:
    """Return the Ansible task that runs virsh."""
    return {"ansible.builtin.command": {"argv": [*VIRSH, *arguments]}}


def _answers(question: str = "uri") -> bool:
    return (
        subprocess.run([*VIRSH, question], check=False, capture_output=True).returncode
        == 0
    )


def _cgroups() -> set[str]:
    """Return the control groups that libvirt makes for all its domains. Without systemd it does not remove them."""
    return {
        *glob.glob("/sys/fs/cgroup/machine"),
        *glob.glob("/sys/fs/cgroup/*/machine"),
    }


def _end(pid_file: Path) -> None:
    pid = int(pid_file.read_text(encoding="ascii"))
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
