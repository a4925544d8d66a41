# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log.copies import Copies
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
