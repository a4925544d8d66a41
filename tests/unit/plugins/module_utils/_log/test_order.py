# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._log.items import (
    Alert,
    Boot,
    Item,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.order import (
    in_order,
)


def at(time: float, serial: int, node: str | None = None) -> Alert:
    return Alert(f"{time:.3f}:{serial}", time, node, "AVC", "")


@given(st.integers(0, 300), st.randoms(use_true_random=False))
def test_neighbours_that_changed_places(count: int, rng: random.Random) -> None:
    items = [at(1000 + number / 100, number + 1) for number in range(count)]
    shaken = list(items)
    for first in range(0, count - 5, 5):
        part = shaken[first : first + 5]
        rng.shuffle(part)
        shaken[first : first + 5] = part
    assert list(in_order(shaken)) == items


def test_a_clock_that_is_set_back() -> None:
    items = [at(1000, 1), at(2000, 2), at(500, 3), at(501, 4), at(3000, 5)]
    assert list(in_order(items)) == items


def test_serial_numbers_that_begin_anew() -> None:
    items = [at(1000, 800), at(1001, 801), at(1060, 12), at(1061, 13)]
    boot = Boot("1060.000:12", 1060, None)
    assert list(in_order(items)) == [*items[:2], boot, *items[2:]]
    # This is so even if the clock says that it was earlier.
    items = [at(1000, 800), at(3, 12)]
    assert list(in_order(items)) == [items[0], Boot("3.000:12", 3, None), items[1]]


@pytest.mark.parametrize("apart", [0, 1, 5, 10, 3000])
def test_swapped_neighbours_with_distant_times_are_no_boot(apart: int) -> None:
    items = [at(1000 + number * apart, 500 + number) for number in range(6)]
    swapped = [items[at] for at in (1, 0, 3, 2, 5, 4)]
    assert list(in_order(swapped)) == items


def test_a_record_that_was_begun_long_before_it_was_written_is_no_boot() -> None:
    """A system call gets its number when it begins, and its record when it ends."""
    items: list[Item] = [at(1000, 500), at(1003, 900), at(1010, 5000), at(1011, 5001)]
    late = [items[0], items[2], items[1], items[3]]
    assert list(in_order(late)) == items


def test_a_boot_comes_once() -> None:
    boot = Boot("1060.000:12", 1060, None)
    items: list[Item] = [at(1000, 800), boot, at(1061, 13), at(1062, 14)]
    assert list(in_order(items)) == items


def test_the_boot_of_a_container_is_no_boot_of_the_host() -> None:
    container = Boot("1010.000:802", 1010, None)
    items: list[Item] = [at(1000, 800), at(1009, 801), container, at(1011, 803)]
    assert list(in_order(items)) == [items[0], items[1], items[3]]
    # Nothing is known from just before it, or so much is missing that it may be another boot.
    for boot in (Boot("1100.000:803", 1100, None), Boot("1010.000:999", 1010, None)):
        assert list(in_order([*items[:2], boot])) == [*items[:2], boot]


@pytest.mark.parametrize(
    ("boot", "host_boots"),
    [
        # The host was quiet, and no number is missing.
        (Boot("1100.000:802", 1100, None), False),
        (Boot("900000.000:802", 900000, None), False),
        # The record changed places with its neighbours.
        (Boot("1009.000:799", 1009, None), False),
        (Boot("1010.000:740", 1010, None), False),
        (Boot("1020.000:799", 1020, None), True),
        (Boot("1009.000:700", 1009, None), True),
        (Boot("1009.000:12", 1009, None), True),
    ],
)
def test_the_boot_of_a_container_is_known_by_its_number(
    boot: Boot, host_boots: bool
) -> None:
    items: list[Item] = [at(1000, 798), at(1009, 801)]
    assert (boot in in_order([*items, boot])) == host_boots


@pytest.mark.parametrize(("time", "host_boots"), [(1030, False), (1100, True)])
def test_a_boot_soon_after_another_boot(time: int, host_boots: bool) -> None:
    """The numbers begin near 1, so those of two boots may be next to one another."""
    boot = Boot(f"{time}.000:42", time, None)
    assert (boot in in_order([at(1000, 40), at(1009, 41), boot])) == host_boots


def test_a_record_that_is_there_twice_is_passed_on_once() -> None:
    items = [at(1000, 800), at(1000, 801), at(1001, 802)]
    assert list(in_order([*items, *items])) == items


def test_hosts_are_apart() -> None:
    items = [
        at(1000, 800, "a"),
        at(1060, 12, "b"),
        at(1061, 801, "a"),
        at(1090, 13, "b"),
    ]
    found = list(in_order(items))
    assert [item for item in found if item.node == "a"] == [items[0], items[2]]
    assert [item for item in found if item.node == "b"] == [items[1], items[3]]
