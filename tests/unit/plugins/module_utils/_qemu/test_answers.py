# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""If a guest has taken over its qemu, qemu can give any answer. No answer causes an error in this collection's code."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MonitorError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import (
    free_ports,
    take_inventory,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.process import (
    is_running,
    owner_of_cpus,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import identity
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

# This form is wrong for every command.
SHAPES: list[t.Any] = [None, "x", 5, True, [], ["x"], [None], [[]], {}, {"x": 1}, [{}]]


def questions(qemu: FakeQemu) -> list[t.Callable[[], t.Any]]:
    """Return all questions that the code asks qemu before it changes something."""
    return [
        lambda: identity._said_by(qemu.monitor),
        lambda: is_running(qemu.monitor),
        lambda: owner_of_cpus(qemu.monitor),
        lambda: take_inventory(qemu.monitor),
        lambda: free_ports(qemu.monitor, ["rp0"]),
    ]


def a_qemu() -> FakeQemu:
    entry = [{"name": "nic", "type": "child<e1000>"}]
    answers: dict[str, t.Any] = {
        "query-uuid": {"UUID": UUID},
        "query-name": {"name": "web01"},
        "query-status": {"running": True},
        "query-kvm": {"enabled": True},
        "query-cpus-fast": [{"thread-id": 2**22 + 1}],
        "qom-list": entry,
        "qom-get": "x",
        "human-monitor-command": "",
    }
    qemu = FakeQemu()
    for command, answer in answers.items():
        qemu.answers[command] = lambda given, answer=answer: answer  # type: ignore[misc]
    return qemu


def problem_of(ask: t.Callable[[], t.Any]) -> str | None:
    """Return the error of the monitor, if a question ends with one."""
    try:
        ask()
    except MonitorError as exc:
        return f"{type(exc).__name__}: {exc}"
    return None


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_any_shape_is_an_answer_or_an_error_of_the_monitor(shape: t.Any) -> None:
    for command in a_qemu().answers:
        qemu = a_qemu()
        qemu.answers[command] = lambda given: shape
        for ask in questions(qemu):
            said = problem_of(ask)
            assert said is None or f"qemu answered {command} with" in said


def test_a_number_that_no_descriptor_has() -> None:
    qemu = a_qemu()
    line = f"n: index=0,type=tap,fd={'9' * 5000}"
    qemu.answers["human-monitor-command"] = lambda given: line
    assert take_inventory(qemu.monitor).backends == {"n": []}


@pytest.mark.parametrize("text", ["../../tmp", "", "x", f"{UUID}/..", f"{UUID} x"])
def test_a_uuid_that_is_none_names_no_directory(text: str) -> None:
    qemu = a_qemu()
    qemu.answers["query-uuid"] = lambda given: {"UUID": text}
    with pytest.raises(MonitorError, match="qemu answered query-uuid with"):
        identity._said_by(qemu.monitor)
    qemu.answers["query-uuid"] = lambda given: {"UUID": UUID.upper()}
    assert identity._said_by(qemu.monitor) == {"name": "web01", "uuid": UUID}
