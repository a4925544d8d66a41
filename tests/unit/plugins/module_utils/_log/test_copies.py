# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t
from time import process_time

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import (
    copies as module,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.copies import Copies
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.items import (
    Alert,
    Boot,
    Item,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import Logged
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story


@pytest.mark.parametrize("number", ["", "0"], ids=["numbered", "unnumbered"])
def test_a_record_of_a_user_hides_no_record_of_roots(number: str) -> None:
    item = t.cast(Logged, Story().open().items[-1])
    if number:
        item = dataclasses.replace(item, event=f"{item.time:.3f}:{number}")
    copies = Copies(mixed=False)
    assert not copies.is_copy(dataclasses.replace(item, uid=1000, user=None))
    copies.log_ends()
    assert not copies.is_copy(item)
    copies.log_ends()
    assert copies.is_copy(item)


@pytest.mark.parametrize("off", [-1.4, 0.0, 1.4, 899.0, 3600.0, -7200.3])
@pytest.mark.parametrize("time", [9000.0, 9001.9, 9899.5])
def test_a_copy_without_a_number_may_have_another_zone(off: float, time: float) -> None:
    item = t.cast(Logged, Story().open().items[-1])
    numbered = dataclasses.replace(item, time=time, event=f"{time:.3f}:7")
    other = dataclasses.replace(item, time=time + off, event=f"{time + off:.3f}:0")
    for first, second in ((numbered, other), (other, numbered)):
        copies = Copies(mixed=True)
        assert not copies.is_copy(first)
        copies.log_ends()
        assert copies.is_copy(second)


def test_a_user_who_sends_one_text_very_often() -> None:
    item = t.cast(Logged, Story().forged().items[-1])
    copies = Copies(mixed=True)
    for number in range(1, 100_001):
        time = 9000.0 + number
        copies.is_copy(
            dataclasses.replace(item, time=time, event=f"{time:.3f}:{number}")
        )
    copies.log_ends()
    began = process_time()
    for number in range(1, 1001):
        time = 9_000_000.0 + number
        copies.is_copy(dataclasses.replace(item, time=time, event=f"{time:.3f}:0"))
    # A search through all records took much longer.
    assert process_time() - began < 5


def test_only_so_many_records_wait_after_a_boot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    copies = Copies(mixed=False)
    items: list[Item] = [Boot("9000.000:5", 9000.0, None)]
    items += [
        Alert(f"9001.000:{number}", 9001.0, None, "AVC", "") for number in range(6, 31)
    ]
    found: list[Item] = []
    most = 0
    for number, item in enumerate(items, 1):
        found += copies.new(item)
        most = max(most, number - len(found))
    assert found == items
    assert most == 9
