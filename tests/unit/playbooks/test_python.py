# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No task imports Python from the directory in which somebody started it, and check mode checks a trail too."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import ansible
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
TASKS = sorted(ROOT.glob("roles/*/tasks/*.yml"))


def runs_python(task: dict[str, t.Any]) -> bool:
    command = task.get("ansible.builtin.command", {})
    shell = task.get("ansible.builtin.shell", {})
    scripts = str(command.get("stdin", "") if isinstance(command, dict) else "")
    return ".py'" in scripts or "python" in str(shell)


def all_tasks(tasks: list[dict[str, t.Any]]) -> t.Iterator[dict[str, t.Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from all_tasks(task.get(part, []))


@pytest.mark.parametrize("path", TASKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_role_starts_python_in_a_directory_of_root(path: Path) -> None:
    for task in filter(runs_python, all_tasks(yaml.safe_load(path.read_text("utf-8")))):
        (options,) = (task[each] for each in task if each.startswith("ansible.builtin"))
        assert options["chdir"] == "/", task["name"]


def test_trail_verify_checks_in_check_mode_too() -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks/trail_verify.yml").read_text("utf-8"))
    commands = [each for each in play["tasks"] if "ansible.builtin.command" in each]
    assert [each["check_mode"] for each in commands] == [False, False]


def test_trail_verify_imports_nothing_from_the_current_directory(
    tmp_path: Path,
) -> None:
    (tmp_path / "ansible").mkdir()
    for name in ("ansible/__init__.py", "json.py", "runpy.py"):
        (tmp_path / name).write_text("raise SystemExit(9)")
    (play,) = yaml.safe_load((ROOT / "playbooks/trail_verify.yml").read_text("utf-8"))
    (task,) = (each for each in play["tasks"] if each["name"].startswith("Ask where"))
    program = task["vars"]["trail_verify_program"]
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(ansible.__file__).parents[1]),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(tmp_path / "home"),
        },
        stdout=subprocess.PIPE,
        check=True,
    )
    assert b"core" in done.stdout
