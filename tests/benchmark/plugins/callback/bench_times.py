# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the time of each task as a line of JSON, for support/playbook.py."""

from __future__ import annotations

DOCUMENTATION = r"""
name: bench_times
type: notification
short_description: Seconds of each task
description: Writes one JSON line a task to the file that the environment variable BENCH_TIMES names.
author: virtaudit contributors
"""

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Measures from the start of a task to its result on the last host. The time of all tasks is ``the play``."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bench_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._first: float | None = None
        self._begin = 0.0
        self._end = 0.0
        self._task = ""
        self._stdout = ""
        self._failed: list[str] = []

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """End the measurement of the last task, and begin the next."""
        self._write()
        self._task = str(task.name)
        self._begin = self._end = time.perf_counter()
        if self._first is None:
            self._first = self._begin

    def v2_runner_on_ok(self, result: Any) -> None:
        """Remember the time and the task's output."""
        self._end = time.perf_counter()
        self._stdout = str(result._result.get("stdout", ""))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Keep the reason."""
        self._failed.append(json.dumps(result._result, default=str)[:2000])

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Keep the reason."""
        self.v2_runner_on_failed(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End the measurement of the last task and of the play."""
        self._write()
        if self._first is not None:
            self._task, self._begin = "the play", self._first
            self._write()

    def _write(self) -> None:
        if not self._task:
            return
        line = {
            "task": self._task,
            "seconds": self._end - self._begin,
            "stdout": self._stdout,
            "failed": self._failed,
        }
        with open(os.environ["BENCH_TIMES"], "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        self._task, self._stdout, self._failed = "", "", []
