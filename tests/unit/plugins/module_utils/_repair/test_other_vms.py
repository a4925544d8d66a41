# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import other_vms
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_vm,
    hold,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel

ORIGIN = Origin("/usr/bin/python3", None, None)
MINE = "c1e2f3a4-0001-4000-8000-000000000012"


@pytest.fixture(name="base", autouse=True)
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    return a_base(tmp_path, monkeypatch)


def settle(mode: t.Any = "required") -> Report:
    with Auditor(mode) as auditor:
        report = Report(auditor)
        other_vms.settle_other_vms(MINE, report, ORIGIN, False)
    return report


def me() -> dict[str, int]:
    process = Process.of(os.getpid())
    assert process is not None
    return {"pid": process.pid, "start_time": process.start_time}


# The VM's mode counts, whatever the task's own mode is.
@pytest.mark.parametrize("mode", ["required", "best_effort", "off"])
def test_a_vm_that_died(base: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    kernel = a_kernel(monkeypatch)
    a_vm()
    result = settle(mode).result()
    assert told(kernel) == ["stop crashed", "detach", "close"]
    assert len(result["audit"]["records"]) == 3
    assert (result["audit"]["auid"], result["audit"]["ses"]) == (1000, 7)
    assert result["changed"]
    assert ["on record now, late" in text for text in result["warnings"]] == [True]
    assert list(base.iterdir()) == []
    again = settle(mode).result()
    assert (again["changed"], again["warnings"]) == (False, [])


def test_the_end_of_another_vm_does_not_get_the_ticket_of_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = a_kernel(monkeypatch)
    a_vm()
    with Auditor("required", "CHG-1") as auditor:
        other_vms.settle_other_vms(MINE, Report(auditor), ORIGIN, False)
    assert len(kernel.texts) == 3
    assert not any("ticket=" in text for text in kernel.texts)


@pytest.mark.parametrize(
    "changes", [me(), {"boot_id": "another"}, {"pid": None, "start_time": None}]
)
def test_other_vms_that_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, t.Any]
) -> None:
    kernel = a_kernel(monkeypatch)
    note = a_vm(**changes)
    assert settle().warnings == []
    assert kernel.sockets == []
    assert VmState(UUID).load() == note


def test_the_tasks_own_vm_is_left_to_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = a_kernel(monkeypatch)
    a_vm(MINE)
    settle()
    assert kernel.texts == []


def test_a_vm_that_a_task_works_on(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = a_kernel(monkeypatch)
    note = a_vm()
    with hold(base / UUID):
        assert settle().warnings == []
    assert kernel.texts == []
    assert VmState(UUID).load() == note


@pytest.mark.parametrize("runs", [True, False])
def test_a_start_that_was_cut_off(monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    kernel = a_kernel(monkeypatch)
    monkeypatch.setattr(
        other_vms, "find_qemu", lambda uuid, uids: Process(1, 1) if runs else None
    )
    a_vm(booting=True, pid=None, start_time=None, interfaces={})
    settle()
    assert told(kernel) == ([] if runs else ["start booted"])


@pytest.mark.parametrize(
    ("changes", "says", "records"),
    [
        ({}, 1, True),
        ({"started": False}, 1, True),
        ({"started": False, "interfaces": {}}, 1, False),
        ({"audit": "off"}, 1, False),
        ({"boot_id": "an earlier one"}, 0, False),
    ],
)
def test_check_mode_says_what_the_run_does(
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, t.Any],
    says: int,
    records: bool,
) -> None:
    kernel = a_kernel(monkeypatch)
    note = a_vm(**changes)
    with Auditor("required") as auditor:
        report = Report(auditor)
        other_vms.settle_other_vms(MINE, report, ORIGIN, True)
    assert kernel.texts == []
    assert VmState(UUID).load() == note
    assert (len(report.warnings), report.changed) == (says, records)
    done = settle()
    assert (len(done.warnings), bool(done.result()["changed"])) == (says, records)


def test_a_failure_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = a_kernel(monkeypatch, Kernel(enabled=0))
    note = a_vm()
    second = a_vm("c1e2f3a4-0001-4000-8000-000000000013", name="web02", audit="off")
    result = settle().result()
    assert not result["changed"]
    assert [text.split()[1] for text in result["warnings"]] == ["web01", "(pid"]
    assert (
        "its end could not be recorded and cleaned up: audit: the kernel's auditing is disabled"
        in result["warnings"][0]
    )
    assert kernel.texts == []
    assert VmState(UUID).load() == note
    assert VmState(second.uuid).load() is None
