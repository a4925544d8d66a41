# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prepares what the attacks use: this machine with a real audit daemon, real links, and VMs for one test each."""

from __future__ import annotations

import dataclasses
import os
import signal
import stat
import tempfile
import uuid as uuidlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.virtaudit.qemu.tests.attack.attacker import NOBODY
from ansible_collections.virtaudit.qemu.tests.fault import host, runner, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    QEMU,
    TAP,
    attach,
    detach,
    vm_name,
)
from ansible_collections.virtaudit.qemu.tests.support.warning_texts import warning_texts

# For a test that counts devices, because not every host has vhost-net.
TAP_WITHOUT_VHOST = {**TAP, "vhost": "off"}


@dataclasses.dataclass(frozen=True)
class Vm:
    """A VM for one test. Most methods run a module and return its result."""

    uuid: str

    @property
    def name(self) -> str:
        """The VM's name."""
        return vm_name(self.uuid)

    def attach(
        self,
        interfaces: list[dict[str, Any]],
        qemu: dict[str, Any] | None = None,
        **options: Any,
    ) -> runner.Result:
        """Run vm_net_attach. ``qemu`` is merged into the options that start a paused guest of 64 MB."""
        return runner.run_module(
            *attach(self.uuid, interfaces, {**QEMU, **(qemu or {})}, **options)
        )

    def detach(self, **options: Any) -> runner.Result:
        """Run vm_net_detach for all NICs, or for the NICs of ``macs``."""
        return runner.run_module(*detach(self.uuid, **options))

    def info(self, **options: Any) -> runner.Result:
        """Run vm_net_audit_info on the host's own logs."""
        return runner.run_module("vm_net_audit_info", {"uuid": self.uuid, **options})

    def records(self) -> list[witness.Fields]:
        """Return the VM's records, read with ausearch."""
        return witness.records(self.uuid)

    def pid(self) -> int:
        """Return the pid of the VM's only living qemu."""
        (pid,) = witness.qemus(self.uuid)
        return pid


def warnings_of(result: runner.Result) -> str:
    """Return the warnings of a module, one on each line."""
    return "\n".join(warning_texts(result))


@pytest.fixture(scope="session", autouse=True)
def _host() -> Iterator[None]:
    """Provide an audit daemon and links for all tests. Remove both even if a signal ends the tests."""
    signal.signal(signal.SIGTERM, lambda *_given: pytest.exit("ended by a signal"))
    with host.auditd(), host.links():
        yield


@pytest.fixture(name="vm")
def fixture_vm() -> Iterator[Vm]:
    """Yield a VM that does not exist yet, and remove what a test leaves of it."""
    vm = Vm(str(uuidlib.uuid4()))
    host.reset_lost()
    try:
        yield vm
    finally:
        vm.detach(stop_vm="destroy")
        host.sweep(vm.uuid, MACS)


@pytest.fixture(name="other")
def fixture_other() -> Iterator[Vm]:
    """Yield another VM that does not exist yet, and remove what a test leaves of it."""
    other = Vm(str(uuidlib.uuid4()))
    try:
        yield other
    finally:
        host.sweep(other.uuid, MACS)


@pytest.fixture(name="work")
def fixture_work() -> Iterator[Path]:
    """Yield a directory that another user can enter. pytest's own directories are only for root."""
    with tempfile.TemporaryDirectory(prefix="vafault-") as work:
        yield Path(work)


@pytest.fixture(name="node")
def fixture_node(tmp_path: Path) -> str:
    """Make a node of /dev/net/tun that the attacker may open, because udev allows everybody to open it."""
    path = str(tmp_path / "tun")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(10, 200))
    os.chown(path, NOBODY, NOBODY)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    return path
