# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import companion
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import Note
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    DEAD,
    a_base,
    a_kernel,
    a_vm,
    hold,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel


@pytest.fixture(name="base", autouse=True)
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    return a_base(tmp_path, monkeypatch)


def run(
    monkeypatch: pytest.MonkeyPatch, pid: int = DEAD["pid"], start_time: int = 1
) -> int:
    monkeypatch.setattr(sys, "argv", ["x.pyz", UUID, str(pid), str(start_time)])
    return companion.main()


def test_the_end(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = a_kernel(monkeypatch)
    a_vm()
    assert run(monkeypatch) == 0
    assert told(kernel) == ["stop crashed", "detach", "close"]
    assert "has ended: 3 records written" in capsys.readouterr().out
    assert list(base.iterdir()) == []


@pytest.mark.parametrize("state", ["none", "next run"])
def test_a_task_was_faster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    kernel = a_kernel(monkeypatch)
    note = None if state == "none" else a_vm(pid=4711, start_time=5)
    assert run(monkeypatch) == 0
    assert kernel.sockets == []
    assert "a task has recorded the end" in capsys.readouterr().out
    assert VmState(UUID).load() == note


def test_a_pid_that_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = a_kernel(monkeypatch)
    note = a_vm(pid=os.getpid(), start_time=2)
    assert run(monkeypatch, os.getpid(), 1) == 0
    assert kernel.texts == []
    assert VmState(UUID).load() == note


def test_stopped_by_hand_while_qemu_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = a_kernel(monkeypatch)
    mine = Process.of(os.getpid())
    assert mine is not None
    note = a_vm(pid=mine.pid, start_time=mine.start_time)
    assert run(monkeypatch, mine.pid, mine.start_time) == 0
    assert "still runs" in capsys.readouterr().out
    assert kernel.texts == []
    assert VmState(UUID).load() == note


def test_a_task_that_ends_the_vm_and_starts_it_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task keeps the lock all the time, and waits for the companion."""
    kernel = a_kernel(monkeypatch)
    a_vm()
    with hold(base / UUID):
        waiting = threading.Thread(target=run, args=(monkeypatch,))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        VmState(UUID).save(a_vm_of_next_run())
        waiting.join(10)
        assert not waiting.is_alive()
    assert kernel.texts == []


def a_vm_of_next_run() -> Note:
    note = VmState(UUID).load()
    assert note is not None
    note.pid = note.start_time = None
    return note


def test_a_task_that_keeps_the_vm_too_long(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = a_kernel(monkeypatch)
    monkeypatch.setattr(companion, "_WAIT_SECONDS", 0.0)
    note = a_vm()
    with hold(base / UUID):
        assert run(monkeypatch) == 1
    assert "The next task on this host tries again" in capsys.readouterr().err
    assert kernel.texts == []
    assert VmState(UUID).load() == note


def test_nothing_can_be_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = a_kernel(monkeypatch, Kernel(enabled=0))
    note = a_vm()
    assert run(monkeypatch) == 1
    said = capsys.readouterr().err
    assert (
        "could not be recorded and cleaned up: audit: the kernel's auditing is disabled"
        in said
    )
    assert kernel.texts == []
    assert VmState(UUID).load() == note


def test_best_effort_says_what_is_wrong(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_kernel(monkeypatch, Kernel(enabled=0))
    a_vm(audit="best_effort")
    assert run(monkeypatch) == 0
    assert "auditing is disabled" in capsys.readouterr().err
    assert list(base.iterdir()) == []
