# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs Ansible tasks in one ansible-playbook, and measures the time of each."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support import script

PLUGINS = Path(__file__).parents[1] / "plugins"
Task = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Timed:
    """One task: its seconds on the controller, and its output."""

    task: str
    seconds: float
    stdout: str


def run(
    tasks: Sequence[Task],
    work: Path,
    hosts: int = 0,
    environment: Mapping[str, str] | None = None,
    **play: t.Any,
) -> list[Timed]:
    """Run tasks on this machine or on so many stub hosts. Return their times. All tasks must succeed.

    Each task needs a ``name``, and the times have the same name. ``play`` are keywords of the play.
    """
    names = [f"stub{number}" for number in range(hosts)] or ["localhost"]
    inventory = work / "hosts.json"
    known = {
        name: {"ansible_connection": "stub" if hosts else "local"} for name in names
    }
    inventory.write_text(json.dumps({"all": {"hosts": known}}), encoding="utf-8")
    book, times = work / "play.json", work / "times.jsonl"
    content = {"hosts": "all", "gather_facts": False, **play, "tasks": list(tasks)}
    book.write_text(json.dumps([content]), encoding="utf-8")
    times.unlink(missing_ok=True)
    # Otherwise an ansible.cfg of this machine could change the run.
    config = work / "ansible.cfg"
    config.touch()
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i"]
    done = subprocess.run(
        [*command, str(inventory), str(book)],
        env={
            **script.plain_environment(),
            **_settings(config, times),
            **(environment or {}),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    lines = times.read_text(encoding="utf-8").splitlines() if times.exists() else []
    found = [json.loads(line) for line in lines]
    failed = [
        f"{each['task']}: {each['failed'][0]}" for each in found if each["failed"]
    ]
    if done.returncode or failed:
        problem = "\n".join(failed) or done.stdout[-4000:] + done.stderr[-4000:]
        raise SystemExit(f"ansible-playbook ended with {done.returncode}: {problem}")
    return [Timed(each["task"], each["seconds"], each["stdout"]) for each in found]


def _settings(config: Path, times: Path) -> dict[str, str]:
    """Return the settings of an ansible.cfg with pipelining and without output."""
    return {
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_PYTHON_INTERPRETER": script.HOST_PYTHON,
        "ANSIBLE_LIBRARY": str(PLUGINS / "modules"),
        "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "callback"),
        "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
        "ANSIBLE_CALLBACKS_ENABLED": "bench_times",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "BENCH_TIMES": str(times),
    }
