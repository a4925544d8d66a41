# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.tests.tools.slowest import (
    MOST,
    Duration,
    Line,
    find_slowest,
)

CASES: list[tuple[str, list[Line], list[Duration]]] = [
    ("lint", [(0.0, "nothing"), (3.0, "")], []),
    (
        "lint",
        [
            (1.0, "nox > Running session codeqa"),
            (2.5, "nox > Session codeqa was successful in a second."),
            (4.0, "nox > Running session typing"),
            (9.0, ""),
        ],
        [Duration(5.0, "session", "typing"), Duration(1.5, "session", "codeqa")],
    ),
    (
        "sanity",
        [
            (1.0, 'Running sanity test "pep8"'),
            (2.0, 'Running sanity test "import" on Python 3.9'),
            (5.0, ""),
        ],
        [Duration(3.0, "test", "import"), Duration(1.0, "test", "pep8")],
    ),
    (
        "units",
        [
            (9.0, "============= slowest 10 durations ============="),
            (9.0, "2.51s call     tests/unit/tools/test_lanes.py::test_lanes[a b]"),
            (9.0, "0.52s setup    tests/unit/tools/test_lanes.py::test_words"),
            (9.0, ""),
        ],
        [
            Duration(2.51, "test", "tests/unit/tools/test_lanes.py::test_lanes[a b]"),
            Duration(0.52, "test", "tests/unit/tools/test_lanes.py::test_words"),
        ],
    ),
    (
        "integration",
        [
            (0.0, "Running vm_net_attach_cold integration test role"),
            (1.0, "TASK [setup_host : Start it] *****"),
            (3.0, "TASK [setup_host : Look] *****"),
            (4.0, "PLAY RECAP *****"),
            (6.0, "Running vm_net_detach integration test role"),
            (7.0, ""),
        ],
        [
            Duration(6.0, "target", "vm_net_attach_cold"),
            Duration(1.0, "target", "vm_net_detach"),
            Duration(2.0, "task", "setup_host : Start it"),
            Duration(1.0, "task", "setup_host : Look"),
        ],
    ),
    (
        "fault",
        [
            (
                50.0,
                "kill cold-start: 5 points, 0 with violations, 0 tasks failed and said why, 41 s",
            ),
            (60.0, ""),
        ],
        [Duration(41.0, "part", "kill cold-start")],
    ),
    (
        "molecule",
        [
            (1.0, "INFO     [fleet > converge] Executing"),
            (2.0, "TASK [Attach] ****"),
            (8.0, "PLAY RECAP ****"),
            (9.0, "INFO     [fleet > converge] Executed: Successful"),
            (12.0, ""),
        ],
        [Duration(8.0, "stage", "fleet > converge"), Duration(6.0, "task", "Attach")],
    ),
]


@pytest.mark.parametrize(("layer", "lines", "slowest"), CASES)
def test_slowest(layer: str, lines: list[Line], slowest: list[Duration]) -> None:
    assert find_slowest(layer, lines) == slowest


def test_only_the_slowest_of_each_kind() -> None:
    lines: list[Line] = [
        (float(n * n), f'Running sanity test "{n}"') for n in range(2 * MOST)
    ]
    found = find_slowest("sanity", lines)
    assert [each.name for each in found] == [
        str(2 * MOST - n) for n in range(2, MOST + 2)
    ]
