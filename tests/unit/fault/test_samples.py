# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.virtaudit.qemu.tests.fault.harms import Harm
from ansible_collections.virtaudit.qemu.tests.fault.samples import Samples
from ansible_collections.virtaudit.qemu.tests.fault.tracer import Point

CALLS = [Point("openat", 1, f"call {number}") for number in range(10)]
NOTES = [Point("rename", 1, f"note {number}") for number in range(6)]
HARM = Harm("kill", "^(?:openat|rename)", often="^rename")


def texts(points: list[Point]) -> list[str]:
    return [point.text for point in points]


def test_a_whole_run_takes_each_point() -> None:
    assert Samples(1).choose(HARM, CALLS + NOTES) == CALLS + NOTES


def test_a_whole_run_takes_each_point_that_the_harm_asks_for() -> None:
    harm = Harm("term", "^openat", every=3)
    found = Samples(1).choose(harm, CALLS)
    assert texts(found) == ["call 0", "call 3", "call 6", "call 9"]


def test_a_short_run_counts_through_all_scenarios() -> None:
    samples = Samples(8)
    found = [texts(samples.choose(HARM, CALLS)) for _scenario in range(4)]
    assert found == [["call 0", "call 8"], ["call 6"], ["call 4"], ["call 2"]]


def test_a_short_run_takes_more_of_some_points() -> None:
    samples = Samples(100)
    found = [texts(samples.choose(HARM, NOTES)) for _scenario in range(2)]
    assert found == [["note 0", "note 5"], ["note 4"]]


def test_each_harm_has_its_own_count() -> None:
    samples = Samples(100)
    for name in ("kill", "interrupt"):
        assert texts(samples.choose(Harm(name, "^openat"), CALLS)) == ["call 0"]


def test_a_point_that_the_harm_does_not_strike_is_not_counted() -> None:
    samples = Samples(3)
    assert samples.choose(HARM, [Point("ioctl", 1, "other")]) == []
    assert texts(samples.choose(HARM, CALLS[:2])) == ["call 0"]
