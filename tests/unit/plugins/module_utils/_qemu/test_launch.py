# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A start that fails for any reason leaves no process."""

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MonitorError,
    ProcessError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import launch
from ansible_collections.virtaudit.qemu.tests.unit.support.waiting import wait_until

PROGRAM = 'echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 60'


class Case(t.NamedTuple):
    """A program that runs in place of qemu and writes its pid into a file."""

    pid_file: Path
    path: str

    def start(self) -> t.Any:
        return launch.start(
            ["/bin/sh", "-c", PROGRAM, str(self.pid_file)],
            launch.listen(self.path),
            [],
            self.path,
            None,
            None,
            1.0,
        )

    def process(self) -> Process | None:
        wait_until(self.pid_file.exists)
        return Process.of(int(self.pid_file.read_text()))


@pytest.fixture(name="case")
def fixture_case(tmp_path: Path) -> Case:
    return Case(tmp_path / "pid", str(tmp_path / "qmp.sock"))


@pytest.mark.parametrize(
    "failure", [OverflowError("timeout is too large"), KeyError("x"), SystemExit(1)]
)
def test_an_error_that_nobody_foresaw(
    case: Case, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(_path: str, _timeout: float) -> None:
        assert case.process() is not None
        raise failure

    monkeypatch.setattr(launch, "Monitor", fail)
    with pytest.raises(type(failure)):
        case.start()
    assert case.process() is None


def test_an_error_after_the_greeting(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    class Greeted:
        def __init__(self, _path: str, _timeout: float) -> None:
            assert case.process() is not None

        def close(self) -> None:
            closed.append(True)

    def fail(_monitor: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(launch, "Monitor", Greeted)
    monkeypatch.setattr(launch, "owner_of_cpus", fail)
    with pytest.raises(OSError, match="Too many open files"):
        case.start()
    assert case.process() is None
    assert closed == [True]


def test_a_qemu_that_hangs_after_the_greeting(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not ended, so the message must not say that it has."""
    greeted = types.SimpleNamespace(close=lambda: None)

    def hang(_monitor: object) -> None:
        assert case.process() is not None
        raise MonitorError("qemu did not answer query-cpus-fast within 1 s")

    monkeypatch.setattr(launch, "_FATE_SECONDS", 0.0)
    monkeypatch.setattr(launch, "Monitor", lambda _path, _timeout: greeted)
    monkeypatch.setattr(launch, "owner_of_cpus", hang)
    with pytest.raises(ProcessError, match=r"not ready within 1 s.* query-cpus-fast"):
        case.start()
    assert case.process() is None


def test_a_program_that_is_no_qemu(case: Case) -> None:
    with pytest.raises(ProcessError, match="qemu was not ready within 1 s"):
        case.start()
    assert case.process() is None
