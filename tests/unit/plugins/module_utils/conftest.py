# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import auditd_conf


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the audit daemon's log from its configuration. The file does not exist yet."""
    path = tmp_path / "log" / "audit.log"
    path.parent.mkdir()
    configuration = tmp_path / "auditd.conf"
    configuration.write_text(
        f"# log_file = /none\nlog_group = adm\nLog_File = {path}\n"
    )
    monkeypatch.setattr(auditd_conf, "_CONFIGURATION", str(configuration))
    return path
