# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.mode import (
    Mode,
    strictest,
)


@pytest.mark.parametrize(
    ("modes", "wanted"),
    [
        (("off", "required"), "required"),
        (("required", "off"), "required"),
        (("off", "best_effort"), "best_effort"),
        (("off", "off"), "off"),
    ],
)
def test_strictest(modes: tuple[Mode, ...], wanted: Mode) -> None:
    assert strictest(*modes) == wanted
