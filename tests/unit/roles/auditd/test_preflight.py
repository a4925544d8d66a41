# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks of the numbers that a play gives. A number from -e, or of a template, is a text."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import jinja2
import pytest
import yaml

ROLE = Path(__file__).resolve().parents[4] / "roles" / "auditd"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text("utf-8"))


def refusals(**given: t.Any) -> list[str]:
    """Return what the role says against these options, of the checks that look at numbers."""
    environment = jinja2.Environment(autoescape=True)
    environment.tests["search"] = lambda text, pattern: re.search(pattern, text)
    (task,) = yaml.safe_load((ROLE / "tasks/preflight.yml").read_text("utf-8"))
    return [
        check["say"]
        for check in task["vars"]["__auditd_found"]
        if "auditd_remote_port" in check["if"] or "auditd_rate_limit" in check["if"]
        if environment.from_string(check["if"]).render({**DEFAULTS, **given}) != "False"
    ]


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("auditd_remote_port", 65535, 65536),
        ("auditd_remote_queue_depth", 1, 0),
        ("auditd_backlog_limit", 0, -1),
        ("auditd_backlog_wait_time", 60000, -1),
        ("auditd_rate_limit", 0, -1),
    ],
)
def test_a_number_in_the_limits(
    name: str, good: int, bad: int, kind: t.Callable[[int], t.Any]
) -> None:
    assert refusals(**{name: kind(good)}) == []
    (said,) = refusals(**{name: kind(bad)})
    assert name in said


def test_the_defaults() -> None:
    assert refusals() == []
