# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives the VMs of a test their own state directory, and a kernel that takes records."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import (
    Process,
    boot_id,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import Inventory
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import statedir
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import Note
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Live
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_note,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel, install
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

# No process has this start time.
DEAD = {"pid": 2**22, "start_time": 1}


def a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a state directory."""
    monkeypatch.setattr(statedir, "BASE", str(tmp_path / "virtaudit"))
    statedir.prepare_base()
    return tmp_path / "virtaudit"


def a_kernel(monkeypatch: pytest.MonkeyPatch, kernel: Kernel | None = None) -> Kernel:
    """Let the code send its records to a fake kernel."""
    return install(monkeypatch, kernel or Kernel())


def a_vm(uuid: str = UUID, **changes: t.Any) -> Note:
    """Note a VM with one NIC whose qemu has ended."""
    interfaces = {MAC: a_nic_note(devices=[tun(31)])}
    values = {
        "uuid": uuid,
        "boot_id": boot_id(),
        "interfaces": interfaces,
        **DEAD,
        **changes,
    }
    note = a_note(**values)
    Path(statedir.BASE, uuid).mkdir()
    VmState(uuid).save(note)
    return note


def a_live(qemu: FakeQemu, process: Process | None = None, *nics: Nic) -> Live:
    """Return a VM that runs, with a fake monitor and perhaps a real process."""
    inventory = Inventory([], {}, [], True)
    by_mac = {nic.mac: nic for nic in nics}
    return Live(process or qemu.process, qemu.monitor, inventory, by_mac)


def told(kernel: Kernel) -> list[str]:
    """Return the records that reached the kernel, each in two words."""
    words = []
    for text in kernel.texts:
        fields = dict(word.partition("=")[::2] for word in text.split())
        words.append(" ".join(fields[key] for key in ("op", "reason") if key in fields))
    return words


def hold(path: Path) -> subprocess.Popen[bytes]:
    """Start a process that holds the lock of a directory until its input ends."""
    program = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX);"
        " print(1, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"1\n"
    return child
