# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log.auditd_conf import (
    setting,
)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("log_file = /a\n", "/a"),
        ("  LOG_FILE=/a # the log\n", "/a"),
        ("log_file = /a\nflush = data\nlog_file = /b", "/b"),
        ("#log_file = /a\nlog_file_2 = /b\n", ""),
        ("log_file = /a\nlog_file =\n", "/a"),
        ("log_file /a\n", ""),
        ("", ""),
    ],
)
def test_setting(tmp_path: Path, content: str, value: str) -> None:
    path = tmp_path / "auditd.conf"
    path.write_text(content, encoding="utf-8")
    assert setting("log_file", str(path)) == value


def test_a_missing_file_sets_nothing(tmp_path: Path) -> None:
    assert setting("log_file", str(tmp_path / "none")) == ""
