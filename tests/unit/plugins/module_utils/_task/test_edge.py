# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module ends."""

from __future__ import annotations

import os
import signal
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    VirtauditError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._task import edge
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.answer import (
    Answer,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.reader import (
    run_reader,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)


class Ended(Exception):
    """The fakes raise this where the process would end."""


class FakeModule:
    """Remembers how the module ended."""

    check_mode = False

    def __init__(self, **params: t.Any) -> None:
        self.params = params
        self.end: tuple[str, dict[str, t.Any]] = ("", {})
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def exit_json(self, **result: t.Any) -> None:
        self.end = ("exit", result)
        raise Ended

    def fail_json(self, **result: t.Any) -> None:
        self.end = ("fail", result)
        raise Ended


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (VirtauditError("no such thing"), "no such thing"),
        (OSError(24, "Too many open files"), "the operating system refused a call"),
        (KeyError("UUID"), "an error in this collection, please report it: KeyError"),
        (None, None),
    ],
)
def test_the_result_of_a_failure_has_the_work_before_it(
    failure: Exception | None, message: str | None
) -> None:
    module = FakeModule()

    def read(_params: t.Any, answer: Answer) -> None:
        answer.stats = {"files": 1}
        if failure is not None:
            raise failure

    with pytest.raises(Ended):
        run_reader(t.cast(t.Any, module), read)
    how, result = module.end
    assert how == ("exit" if failure is None else "fail")
    assert result["stats"] == {"files": 1}
    if message is not None:
        assert message in result["msg"]
    assert ("exception" in result) is isinstance(failure, KeyError)
    assert module.warnings == []


@pytest.mark.parametrize("fails", [False, True])
def test_characters_that_utf_8_lacks_are_escaped(fails: bool) -> None:
    module = FakeModule()

    def read(_params: t.Any, answer: Answer) -> None:
        answer.grants = [{"vm": "\udcff\udcfe ", "odd": "\ud800"}]
        answer.events = [{"fields": {"\udc80": None, "vm": "\u00e9\udcff"}}]
        answer.warnings.append("no \udcff")
        if fails:
            raise VirtauditError("/tmp/\udcff")

    with pytest.raises(Ended):
        run_reader(t.cast(t.Any, module), read)
    _how, result = module.end
    assert result["grants"] == [{"vm": "\\xff\\xfe ", "odd": "\\ud800"}]
    assert result["events"] == [{"fields": {"\\x80": None, "vm": "\u00e9\\xff"}}]
    assert module.warnings == ["no \\xff"]
    assert result.get("msg") == ("/tmp/\\xff" if fails else None)


@pytest.mark.parametrize(
    ("given", "ticket", "problem"),
    [
        ("CHG 1", "CHG 1", None),
        ("", None, None),
        (None, None, None),
        ("x" * 257, None, "ticket: the ticket has 257 bytes"),
    ],
)
def test_the_records_get_the_ticket(
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    ticket: str | None,
    problem: str | None,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(edge, "_require_pyroute2", lambda _module: None)
    monkeypatch.setattr(signal, "signal", lambda _number, _how: None)
    module = FakeModule(audit="off", ticket=given)
    tickets: list[str | None] = []

    def run(_params: t.Any, _check_mode: bool, report: Report) -> None:
        tickets.append(report.auditor.ticket)

    with pytest.raises(Ended):
        edge.run_module(t.cast(t.Any, module), run)
    how, result = module.end
    # The module refuses options before it does anything.
    assert tickets == ([] if problem else [ticket])
    assert how == ("fail" if problem else "exit")
    assert result.get("msg", "").startswith(problem or "")
