# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task's first look at its VM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils import _proc
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    LinkError,
    MonitorError,
    StateError,
    VirtauditError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import (
    FrontEnd,
    Inventory,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import vm
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.find import find_vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import a_target
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    children,
    process_of,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_live,
    a_vm,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu


def look(
    child: subprocess.Popen[bytes], ends: bool, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Look at a VM whose monitor has disappeared, and whose qemu then ends or does not. Tell whether the VM runs."""
    process = process_of(child)
    a_vm(pid=process.pid, start_time=process.start_time)

    def gone(path: str, _timeout: float) -> None:
        if ends:
            child.kill()
        raise MonitorError(f"{path} is gone")

    monkeypatch.setattr(vm, "Monitor", gone)
    with find_vm(a_target(), False, []) as looked:
        return looked.running


def test_a_qemu_that_is_about_to_end_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_base(tmp_path, monkeypatch)
    with children() as start:
        assert look(start(), True, monkeypatch) is False


def test_a_qemu_that_lives_and_does_not_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_base(tmp_path, monkeypatch)
    monkeypatch.setattr(vm, "_ENDING_SECONDS", 0.01)
    with children() as start, pytest.raises(MonitorError, match="is gone"):
        look(start(), False, monkeypatch)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_state_directory_that_others_can_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    """Check mode trusts its content no more than the run does."""
    base = a_base(tmp_path, monkeypatch)
    base.chmod(0o777)
    looked = find_vm(a_target(), check_mode, [])
    with pytest.raises(StateError, match="not a directory of root's"), looked:
        pass
    base.rmdir()
    with find_vm(a_target(), True, []) as found:
        assert not found.running
    assert not base.exists()


def test_a_nic_without_a_mac_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_base(tmp_path, monkeypatch)
    evil = FrontEnd("/machine/peripheral/evil", "e1000", "x res=success", "hostnet0")

    def look(found: vm.Vm) -> None:
        live = a_live(FakeQemu())
        found._live = live._replace(inventory=Inventory([evil], {}, [], True))

    monkeypatch.setattr(vm.Vm, "look", look)
    warnings: list[str] = []
    with find_vm(a_target(), False, warnings):
        assert "reports 'x res=success' as the MAC of" in warnings[0]


def lose_a_link(child: subprocess.Popen[bytes], ends: bool) -> None:
    """Find a VM that runs, and fail because its link is gone. Its qemu ends before that or does not."""
    with find_vm(a_target(), False, []) as found:
        found._live = a_live(FakeQemu(), process_of(child))
        if ends:
            child.kill()
        raise LinkError("vt0 could not become a port: No such device")


@pytest.mark.parametrize("ends", [True, False])
def test_the_end_of_qemu_is_the_reason_why_a_link_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    a_base(tmp_path, monkeypatch)
    monkeypatch.setattr(_proc, "_FATE_SECONDS", 2.0 if ends else 0.01)
    said = r"^vt0 could not become a port: No such device"
    said += ": qemu has ended or crashed$" if ends else "$"
    with children() as start, pytest.raises(VirtauditError, match=said):
        lose_a_link(start(), ends)
