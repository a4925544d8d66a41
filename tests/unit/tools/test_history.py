# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.tools import history

GOOD = {"failed": 0, "problems": []}


def test_the_newest_good_run_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert history.last_seconds() == {}
    history.add({"lint": {**GOOD, "seconds": 10}, "units": {**GOOD, "seconds": 70}})
    history.add({"lint": {**GOOD, "seconds": 12}})
    history.add({"lint": {"failed": 1, "problems": [], "seconds": 1}})
    history.add({"lint": {"failed": 0, "problems": ["no test ran"], "seconds": 2}})
    assert history.last_seconds() == {"lint": 12, "units": 70}
    assert len(history.path().read_text(encoding="utf-8").splitlines()) == 4
