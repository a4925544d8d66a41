# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out what failed in a layer, and why, so that the end of a run says it even if the rest of the log is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# How many characters of an error are shown.
_MOST = 500
# How many failures of a layer are shown.
_MANY = 10

_TASK = re.compile(r"^TASK \[(.*?)\] \*+$", re.M)
_ENDED = re.compile(r"^(?:fatal|failed): \[", re.M)
_IGNORED = re.compile(r"^\.\.\.ignoring$", re.M)
# What tells why a task failed. "stderr" and "assertion" are longer, so that they come after the message.
_REASONS = ("msg", "assertion", "stderr", "stdout")
_LINES = {
    "lint": r"^nox > Session \S+ (?!was successful).*$",
    "sanity": r"^ERROR: .*$",
    "units": r"^(?:FAILED|ERROR) \S+\.py\b.*$",
    "fault": r"^VIOLATION .*$",
}


def find_lines(layer: str, text: str) -> list[str]:
    """Return the lines in which the tools of a layer say what failed. The layers that run playbooks have none."""
    pattern = _LINES.get(layer)
    # ansible-test can print a line twice.
    found = dict.fromkeys(re.findall(pattern, text, re.M)) if pattern else {}
    return [_shorten(line) for line in list(found)[:_MANY]]


def find_task(log: str) -> str:
    """Return the task that ended a playbook, and why it failed. ``log`` is Ansible's output of a target or stage.

    If no task failed, the answer is the last line of the log.
    """
    last = ""
    for name, output in _tasks(log):
        failure = _ENDED.search(output)
        if failure and not _IGNORED.search(output):
            last = f"TASK [{name}]: {_reason(output[failure.start():])}"
    lines = log.strip().splitlines()
    return _shorten(last or (lines[-1] if lines else "it wrote nothing"))


def _tasks(log: str) -> Iterator[tuple[str, str]]:
    parts = _TASK.split(log)
    return zip(parts[1::2], parts[2::2])


def _reason(output: str) -> str:
    """Return the reason from Ansible's JSON, or the first line if there is none."""
    begin = output.find("=> {")
    result: Any = None
    if begin >= 0:
        try:
            result, _end = json.JSONDecoder().raw_decode(output, begin + len("=> "))
        except ValueError:
            pass
    if not isinstance(result, dict):
        return output.splitlines()[0]
    reasons = (result.get(key) for key in _REASONS)
    return ": ".join(str(reason)[-_MOST:] for reason in reasons if reason)


def _shorten(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= 2 * _MOST else f"{joined[:2 * _MOST]}..."
