# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.action.trail_reconcile import (
    ActionModule,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    OptionError,
)


def check(path: Path) -> dict[str, t.Any]:
    # The action itself needs a connection and a task, and its work does not.
    action = ActionModule.__new__(ActionModule)
    options = {"path": str(path), "dest": None, "begin": None}
    return action.make(options, ["hv1"], path / "answers", check_mode=True)


def test_the_directory_is_checked_before_a_host_is_asked(tmp_path: Path) -> None:
    assert check(tmp_path) == {"changed": False}
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("missing", "file", "link"):
        with pytest.raises(OptionError, match=r"^path: .* is not a directory"):
            check(tmp_path / name)
