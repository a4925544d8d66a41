# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out how a layer spends its time: how long each session, test, target, stage and task took."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MOST = 10

# A line of a layer's output, and the seconds from the layer's start until it was written.
Line = tuple[float, str]


class Duration(NamedTuple):
    """How long something took. For example, ``kind`` is "target" and ``name`` is "vm_net_detach"."""

    seconds: float
    kind: str
    name: str


class _Heading(NamedTuple):
    """Something that lasts from its own heading to the next heading of its kind, or to an ``end``."""

    kind: str
    begins: re.Pattern[str]
    ends: re.Pattern[str] = re.compile("(?!)")


_TASK = _Heading("task", re.compile(r"^TASK \[(.*?)\] \*"), re.compile("^PLAY RECAP"))
_TARGET = _Heading("target", re.compile(r"^Running (\S+) integration test "))
_SESSION = _Heading(
    "session",
    re.compile(r"^nox > Running session (\S+)$"),
    re.compile("^nox > Session "),
)
_STAGE = _Heading(
    "stage",
    # "[fleet > verify] Executing", or "fleet ➜ verify: Executing" in a terminal with UTF-8.
    re.compile(r"^INFO +\[?(\S+ \S \w+)[\]:]+ Executing$"),
    re.compile(r"^INFO .*[\]:]+ Executed: "),
)
_HEADINGS = {
    "lint": [_SESSION],
    "sanity": [_Heading("test", re.compile(r'^Running sanity test "([^"]+)"'))],
    "integration": [_TARGET, _TASK],
    "compat": [_SESSION, _TARGET, _TASK],
    "integration-uml": [_TARGET, _TASK],
    "molecule": [_STAGE, _TASK],
    "molecule-tcg": [_STAGE, _TASK],
}
# Lines that tell how long something took: pytest's --durations, and a part of make fault.
_SAID = {
    "units": [
        (
            "test",
            re.compile(r"^(?P<seconds>[\d.]+)s (?:call|setup|teardown) +(?P<name>.+)$"),
        )
    ],
    "fault": [
        ("part", re.compile(r"^(?P<name>[\w -]+): \d+ points, .* (?P<seconds>\d+) s$"))
    ],
}


def find_slowest(layer: str, lines: Sequence[Line]) -> list[Duration]:
    """Return the slowest things of each kind in a layer, the slowest first. ``lines`` ends when the layer does."""
    found: list[Duration] = []
    for heading in _HEADINGS.get(layer, []):
        found += _longest(_headed(heading, lines))
    for kind, pattern in _SAID.get(layer, []):
        matches = (pattern.match(text) for _seconds, text in lines)
        found += _longest(
            [
                Duration(float(match["seconds"]), kind, match["name"])
                for match in matches
                if match
            ]
        )
    return found


def _headed(heading: _Heading, lines: Sequence[Line]) -> list[Duration]:
    found = []
    name, begun = "", 0.0
    for seconds, text in lines:
        match = heading.begins.match(text)
        if name and (match or heading.ends.match(text)):
            found.append(Duration(round(seconds - begun, 1), heading.kind, name))
            name = ""
        if match:
            name, begun = match[1], seconds
    if name:
        found.append(Duration(round(lines[-1][0] - begun, 1), heading.kind, name))
    return found


def _longest(durations: list[Duration]) -> list[Duration]:
    return sorted(durations, reverse=True)[:MOST]
