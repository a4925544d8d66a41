# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.tests.benchmark.support import page
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
    number,
    summary,
    text_table,
    verdict,
)

FAST = Figure(
    "16 NICs",
    "ms",
    {"ours": [10.0, 20.0, 30.0], "theirs": [100.0, 400.0, 330.0]},
    ("theirs", "ours"),
    Wanted("at least", 10),
    "on a bridge",
)
SMALL = Figure(
    "payload",
    "KiB",
    {"added": [101.5], "all": [300.0]},
    None,
    Wanted("at most", 100, "median"),
)
PLAIN = Figure("hosts", "s", {"20 hosts": [1.234], "500 hosts": [20.0]})


def test_a_ratio_is_taken_round_by_round() -> None:
    assert FAST.ratios() == [10.0, 20.0, 11.0]
    assert FAST.judged() == 11.0
    assert FAST.is_reached()
    assert PLAIN.ratios() == []


@pytest.mark.parametrize(
    ("wanted", "value", "reached"),
    [
        (Wanted("at least", 4), 4.0, True),
        (Wanted("at least", 4), 3.9, False),
        (Wanted("at most", 2), 2.0, True),
        (Wanted("at most", 2), 2.1, False),
    ],
)
def test_the_figure_to_reach(wanted: Wanted, value: float, reached: bool) -> None:
    assert wanted.is_reached(value) is reached


def test_a_median_is_judged_where_no_ratio_is_wanted() -> None:
    assert SMALL.judged() == 101.5
    assert (verdict(SMALL), verdict(FAST), verdict(PLAIN)) == (
        "not reached",
        "reached",
        "",
    )


def test_summary() -> None:
    assert summary([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.126, "0.13"), (9.87, "9.87"), (12.34, "12.3"), (5432.1, "5432")],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("figure", [FAST, SMALL, PLAIN])
def test_json_has_all_values(figure: Figure) -> None:
    again = Figure.of_json(json.loads(json.dumps(figure.to_json())))
    assert again == figure


def test_text() -> None:
    lines = [line.split() for line in text_table([FAST, SMALL]).splitlines()]
    assert lines == [
        ["16", "NICs"],
        ["ours", "20.0", "(10.0", "to", "30.0)", "ms"],
        ["theirs", "330", "(100", "to", "400)", "ms"],
        ["theirs", "/", "ours", "11.0", "(10.0", "to", "20.0)", "x"],
        ["wanted", "at", "least", "10x:", "reached"],
        ["(on", "a", "bridge)"],
        ["payload"],
        ["added", "102", "(102", "to", "102)", "KiB"],
        ["all", "300", "(300", "to", "300)", "KiB"],
        ["wanted", "at", "most", "100:", "not", "reached"],
    ]


def a_run(*scripts: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "date": "2026-01-02",
        "command": "make bench",
        "seconds": 600.0,
        "machine": {"processors": "2 x Thing", "memory": "4 GiB"},
        "versions": {"qemu": "7.2", "libvirt": "9.0"},
        "scripts": scripts,
    }


def test_page() -> None:
    figures = [figure.to_json() for figure in (FAST, SMALL)]
    run = a_run(
        {"title": "NICs", "figures": figures, "output": "unused"},
        {"title": "Rules", "figures": [], "output": "1.5x\n"},
    )
    made = page.put_in(f"# Benchmarks\n\n{page.MARK}\nold\n", page.markdown(run))
    assert made.startswith(
        f"# Benchmarks\n\n{page.MARK}\n\nMeasured on 2026-01-02 with"
    )
    assert "old" not in made
    assert "| 16 NICs | ours | 20.0 ms | 10.0 to 30.0 |  |  |\n" in made
    assert (
        "|  | **theirs / ours** | 11.0x | 10.0 to 20.0 | at least 10x | reached |\n"
        in made
    )
    assert (
        "| payload | added | 102 KiB | 102 to 102 | at most 100 | not reached |\n"
        in made
    )
    assert "- 16 NICs: on a bridge.\n" in made
    assert "### Rules\n\n```text\n1.5x\n```\n" in made


def test_a_page_without_a_place_for_figures() -> None:
    with pytest.raises(ValueError, match="the page has no line"):
        page.put_in("# Benchmarks\n", "figures")
