# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs of all forms from the field, each with its right answer: see tests/cases/logs/expect.json."""

from __future__ import annotations

import json
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LogError
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import audit_info
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.answer import (
    Answer,
)

LOGS = Path(__file__).parents[4] / "cases" / "logs"
CASES: list[dict[str, t.Any]] = json.loads((LOGS / "expect.json").read_text())


def ask(paths: list[str], **params: t.Any) -> dict[str, t.Any]:
    options = dict.fromkeys(("name", "uuid", "mac", "since", "until"))
    given = {"events": True, "verify": False, "history": False, "logs": paths}
    answer = Answer()
    audit_info.run({**options, **given, **params}, answer)
    return answer.result()


def is_right(case: dict[str, t.Any], result: dict[str, t.Any]) -> bool:
    grants = [
        [each["vm"], each["mac"], len(each["devices"])] for each in result["grants"]
    ]
    sessions = [[each["vm"], each["end"]] for each in result["sessions"]]
    return (
        sorted(grants) == sorted(case["grants"])
        and sorted(sessions) == sorted(case["sessions"])
        and sorted(each["code"] for each in result["findings"])
        == sorted(case["findings"])
        and len(result["events"]) == case["events"]
    )


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case(case: dict[str, t.Any]) -> None:
    if case["id"] == "O42" and shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    paths = [str(LOGS / name) for name in case["logs"]]
    try:
        result = ask(paths)
    except LogError:
        # The module refuses the logs, with a reason for each file.
        assert case["want"] == "right or said"
        return
    said = bool(result["warnings"] or result["stats"]["unread"])
    assert is_right(case, result) or (case["want"] == "right or said" and said)
    if case["want"] == "right":
        assert all(
            each["path"].endswith("nothere.log") for each in result["stats"]["unread"]
        )
    if "field" in case:
        name, value = case["field"]
        assert value in [event["fields"].get(name) for event in result["events"]]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_question_for_one_vm_gives_the_same_grants(case: dict[str, t.Any]) -> None:
    paths = [str(LOGS / name) for name in case["logs"]]
    try:
        every = ask(paths)
    except LogError:
        return
    for grant in every["grants"]:
        mine = [each for each in every["grants"] if each["vm"] == grant["vm"]]
        assert ask(paths, name=grant["vm"])["grants"] == mine
