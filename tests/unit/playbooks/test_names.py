# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A misspelt variable would turn a check off without a word, so the playbooks refuse it."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtaudit.qemu.tests.unit.support.playbooks import (
    run_playbook,
)

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
NAMES = ("audit_report", "audit_history", "trail_reconcile", "trail_verify")


def checked(name: str) -> dict[str, t.Any]:
    """Return the names that a playbook knows."""
    plays = yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text("utf-8"))
    for play in plays:
        task = play["tasks"][0]
        assert task["ansible.builtin.import_tasks"] == "tasks/names.yml"
    return dict(plays[0]["tasks"][0]["vars"])


@pytest.mark.parametrize(
    "variable",
    [
        "audit_report_failon",
        "audit_history_log",
        "trail_reconcile_to",
        "trail_verify_signer",
    ],
)
def test_a_misspelt_variable_is_refused(tmp_path: Path, variable: str) -> None:
    name = next(each for each in NAMES if variable.startswith(each))
    done = run_playbook(tmp_path, name, **{variable: "x"})
    assert done.returncode == 2, done.stdout
    known = f"{name}_{checked(name)['__virtaudit_names'][0]}"
    assert f"{variable}: no such variable; there are {known}" in done.stdout
    assert "ok=0" in done.stdout


def test_a_bad_time_is_named_as_the_playbook_calls_it(tmp_path: Path) -> None:
    done = run_playbook(tmp_path, "audit_history", since="soon")
    assert done.returncode == 2, done.stdout
    assert re.search(r"[ \"]since: 'soon' is not a time", done.stdout), done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_each_variable_is_explained_and_read(name: str) -> None:
    text = (PLAYBOOKS / f"{name}.yml").read_text("utf-8")
    explained = re.findall(rf"^#   {name}_(\w+)", text, re.M)
    assert sorted(checked(name)["__virtaudit_names"]) == sorted(explained)
    code = "\n".join(line for line in text.splitlines() if line[:1] != "#")
    for each in explained:
        assert re.search(rf"\b{name}_{each}\b", code)


@pytest.mark.parametrize("name", NAMES)
def test_the_names_that_a_playbook_gives_itself_are_no_mistake(name: str) -> None:
    plays = yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text("utf-8"))
    tasks = [task for play in plays for task in play["tasks"]]
    made = {task["register"] for task in tasks if "register" in task}
    made |= {each for play in plays for each in play["vars"]}
    own = {f"{name}_{each}" for each in checked(name)["__virtaudit_own"]}
    assert made <= own
