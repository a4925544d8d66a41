# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of an attach before it opens anything."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import attach
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import launch
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import QEMU, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_vm,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel


@pytest.fixture(name="base")
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    monkeypatch.setattr(launch, "find_binary", lambda binary: f"/usr/bin/{binary}")
    monkeypatch.setattr(launch, "ids_of", lambda user: (0, 0))
    monkeypatch.setattr(launch, "version_of", lambda binary: (7, 2))
    return a_base(tmp_path, monkeypatch)


def run(check_mode: bool, **options: t.Any) -> Report:
    params = {
        "name": "web01",
        "uuid": UUID,
        "qmp_socket": None,
        "interfaces": [],
        "qemu": None,
        "on_mismatch": "fail",
        "audit": "required",
        "timeout": 1,
        **options,
    }
    with Auditor(params["audit"]) as auditor:
        report = Report(auditor)
        attach.run(params, check_mode, report)
    return report


def test_a_vm_that_does_not_run_and_that_the_task_does_not_start(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    with pytest.raises(OptionError, match="qemu: the VM web01 does not run"):
        run(False)
    assert kernel.texts == []
    assert os.listdir(base) == []


def test_check_mode_starts_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = a_kernel(monkeypatch)
    report = run(True, qemu=QEMU)
    assert report.changed
    assert report.vm["started"]
    assert report.diff["after"] == {"running": True, "interfaces": {}}
    assert kernel.texts == []
    assert os.listdir(base) == []


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_qemu_that_is_too_old_is_refused(
    base: Path, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    def refuse(binary: str) -> t.NoReturn:
        raise OptionError("qemu.binary", f"{binary} is qemu 5.2")

    kernel = a_kernel(monkeypatch)
    monkeypatch.setattr(launch, "version_of", refuse)
    with pytest.raises(OptionError, match=r"qemu\.binary: /usr/bin/.* is qemu 5\.2"):
        run(check_mode, qemu=QEMU)
    assert kernel.texts == []
    assert os.listdir(base) == []


@pytest.mark.parametrize("check_mode", [True, False])
def test_without_a_daemon_nothing_is_opened(
    base: Path, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    kernel = a_kernel(monkeypatch, Kernel(enabled=0))
    with pytest.raises(AuditError, match="auditing is disabled"):
        run(check_mode, qemu=QEMU)
    assert kernel.texts == []
    assert os.listdir(base) == []


def test_an_end_that_nobody_recorded_is_recorded_first(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    a_vm()
    said = run(True, qemu=QEMU)
    assert kernel.texts == []
    assert [
        "its end will be put on record, late" in text for text in said.warnings
    ] == [True]
    with pytest.raises(OptionError, match="does not run"):
        run(False)
    assert told(kernel) == ["stop crashed", "detach", "close"]
    assert os.listdir(base) == []
