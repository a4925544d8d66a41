# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.roles.hypervisor.files import host


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(host, "STATE", tmp_path / "state")
    monkeypatch.setattr(host, "RULES", tmp_path / "50-virtaudit.rules")
    return tmp_path / "state"


def test_a_host_without_remains(state: Path) -> None:
    assert host.state_leftovers() == []


def test_the_state_directory_is_removed_after_its_files(state: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "program.pyz").touch()
    assert host.state_leftovers() == [str(state / "program.pyz"), str(state)]


def test_the_state_directory_stays_while_audit_rules_name_it(state: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "program.pyz").touch()
    host.RULES.touch()
    assert host.state_leftovers() == [str(state / "program.pyz")]


def test_a_state_directory_that_anyone_can_read(state: Path) -> None:
    state.mkdir()
    state.chmod(0o755)
    (problem,) = host.state_problems("present")
    assert "mode 0700" in problem
    assert "auditd" not in problem
    host.RULES.touch()
    (problem,) = host.state_problems("present")
    assert "run the role auditd again" in problem


def test_bridges_where_networkmanager_runs_the_network() -> None:
    (problem,) = host.unkept_bridges(["br0", "br1"], networkd=False, manager=True)
    assert "nmcli connection add type bridge" in problem
    assert "br0, br1" in problem
    assert host.unkept_bridges([], networkd=False, manager=True) == []
    assert host.unkept_bridges(["br0"], networkd=True, manager=True) == []
    assert host.unkept_bridges(["br0"], networkd=False, manager=False) == []
