# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.unit.support.reports import Reports


@pytest.fixture(name="reports")
def fixture_reports(tmp_path: Path) -> Reports:
    return Reports(tmp_path)
