# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils import _zipapp
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import ProcessError
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import systemd
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import (
    companion_unit,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import Note
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    UUID,
    a_target,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import a_base, a_vm

SCOPE = "virtaudit-x.scope"


@pytest.fixture(name="base", autouse=True)
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return a_base(tmp_path, monkeypatch)


@pytest.fixture(name="made")
def fixture_made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, list[str]]]:
    """Replace systemd. Return the commands that it was asked to run."""
    made: list[tuple[str, str, list[str]]] = []
    monkeypatch.setattr(
        systemd,
        "run_after",
        lambda scope, uuid, command: made.append((scope, uuid, command)),
    )
    return made


def make(note: Note) -> Report:
    vm = Vm(a_target(), UUID, None)
    report = Report(Auditor("required"))
    companion_unit.watch(vm, note, report)
    return report


def test_the_program_is_written(
    base: Path, made: list[tuple[str, str, list[str]]]
) -> None:
    note = a_vm(unit=SCOPE)
    assert make(note).warnings == []
    (program,) = base.glob("*.pyz")
    assert made == [
        (SCOPE, UUID, [sys.executable, "-I", str(program), UUID, str(note.pid), "1"])
    ]
    assert program.stat().st_mode & 0o777 == 0o600
    loaded = VmState(UUID).load()
    assert loaded is not None
    assert loaded.companion == str(program)
    # The companion runs without Ansible, and finds a note of another run of the VM.
    done = subprocess.run(
        [sys.executable, "-I", str(program), UUID, "1", "1"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert "a task has recorded the end of VM" in done.stdout
    assert done.stderr == ""


def test_the_program_is_the_same_each_time(base: Path, made: list[t.Any]) -> None:
    note = a_vm(unit=SCOPE)
    make(note)
    (first,) = base.glob("*.pyz")
    known = first.stat()
    make(note)
    assert list(base.glob("*.pyz")) == [first]
    # The file is not even written again.
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (
        known.st_ino,
        known.st_mtime_ns,
    )
    assert len(made) == 2


@pytest.mark.parametrize("how", ["changed", "link", "open to others"])
@pytest.mark.usefixtures("made")
def test_a_program_that_cannot_be_trusted_is_replaced(
    base: Path, tmp_path: Path, how: str
) -> None:
    note = a_vm(unit=SCOPE)
    make(note)
    (program,) = base.glob("*.pyz")
    good = program.read_bytes()
    victim = tmp_path / "victim"
    if how == "changed":
        program.write_bytes(b"import os")
    elif how == "link":
        victim.write_bytes(good)
        program.unlink()
        program.symlink_to(victim)
    else:
        program.chmod(0o666)
    make(note)
    assert program.read_bytes() == good
    assert not program.is_symlink()
    assert program.stat().st_mode & 0o777 == 0o600
    assert not victim.exists() or victim.read_bytes() == good


@pytest.mark.usefixtures("made")
def test_programs_that_nobody_needs_are_removed(base: Path) -> None:
    for name in ("old.pyz", "needed.pyz"):
        (base / name).touch()
    other = "c1e2f3a4-0001-4000-8000-000000000013"
    a_vm(other, companion=str(base / "needed.pyz"))
    note = a_vm(unit=SCOPE)
    make(note)
    (program,) = set(base.glob("*.pyz")) - {base / "needed.pyz"}
    assert program.name not in ("old.pyz", "needed.pyz")
    assert (base / "needed.pyz").exists()


def test_without_a_scope_there_is_no_companion(base: Path, made: list[t.Any]) -> None:
    assert make(a_vm(unit=None)).warnings == []
    assert made == []
    assert list(base.glob("*.pyz")) == []


def test_a_failure_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(scope: str, uuid: str, command: list[str]) -> None:
        raise ProcessError("no such scope")

    monkeypatch.setattr(systemd, "run_after", refuse)
    (warning,) = make(a_vm(unit=SCOPE)).warnings
    assert "the companion unit of VM web01 could not be made" in warning
    assert "no such scope" in warning


def test_equal_sources_give_equal_bytes() -> None:
    assert _zipapp.pack("_repair.companion") == _zipapp.pack("_repair.companion")
