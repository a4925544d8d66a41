# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the VM of a benchmark, without NICs and with free ports: a small Linux under TCG, or a VM that is paused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.virtaudit.qemu.tests.benchmark.support import host, playbook
from ansible_collections.virtaudit.qemu.tests.benchmark.support.playbook import Task

ATTACH = "virtaudit.qemu.vm_net_attach"
DETACH = "virtaudit.qemu.vm_net_detach"


@contextlib.contextmanager
def running(
    names: dict[str, str],
    work: Path,
    memory: int,
    ports: int,
    at_the_end: Sequence[Task] = (),
) -> Iterator[None]:
    """Run a VM with a guest that is up, while the block runs.

    ``names`` are its name and its UUID. The tasks ``at_the_end`` run after the VM has ended.
    """
    serial, guest = work / "serial", host.guest(work)
    boot = ["-kernel", f"{guest}/vmlinuz", "-initrd", f"{guest}/initrd"]
    says = ["-append", "console=ttyS0 quiet", "-serial", f"file:{serial}"]
    qemu = {"memory": str(memory), "hotplug_ports": ports, "args": [*boot, *says]}
    with _started(names, work, qemu, at_the_end):
        host.wait_for_text(serial, "GUEST-READY")
        yield


@contextlib.contextmanager
def paused(names: dict[str, str], work: Path, ports: int) -> Iterator[None]:
    """Run a VM that is paused, while the block runs. ``names`` are its name and its UUID."""
    with _started(names, work, {"hotplug_ports": ports, "paused": True}):
        yield


@contextlib.contextmanager
def _started(
    names: dict[str, str],
    work: Path,
    qemu: dict[str, Any],
    at_the_end: Sequence[Task] = (),
) -> Iterator[None]:
    start = {**names, "interfaces": [], "qemu": {"accel": "tcg", **qemu}}
    end = {**names, "stop_vm": "destroy"}
    try:
        playbook.run([{"name": "begin", ATTACH: start}], work)
        yield
    finally:
        # A VM that was never started is not an error.
        playbook.run([{"name": "end", DETACH: end}, *at_the_end], work)
