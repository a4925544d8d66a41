# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the VM of a benchmark: a small Linux under TCG, without NICs and with free ports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

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
    qemu = {"accel": "tcg", "memory": str(memory), "hotplug_ports": ports}
    start = {**names, "interfaces": [], "qemu": {**qemu, "args": [*boot, *says]}}
    end = {**names, "stop_vm": "destroy"}
    try:
        playbook.run([{"name": "begin", ATTACH: start}], work)
        host.wait_for_text(serial, "GUEST-READY")
        yield
    finally:
        # A VM that was never started is not an error.
        playbook.run([{"name": "end", DETACH: end}, *at_the_end], work)
