# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks that write one answer for all hosts succeed in check mode, say that there is no answer, and write nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.unit.support.playbooks import (
    run_playbook,
)


@pytest.mark.parametrize(
    ("name", "dest", "said"),
    [
        ("audit_report", "audit_report_dest", "To get the report"),
        ("audit_history", "audit_history_dest", "To get the answer"),
        ("trail_reconcile", "trail_reconcile_dest", "To compare the files"),
    ],
)
def test_check_mode_succeeds_and_says_that_there_is_no_answer(
    tmp_path: Path, name: str, dest: str, said: str
) -> None:
    given = {dest: str(tmp_path / "answer")}
    if name == "trail_reconcile":
        given["trail_reconcile_path"] = str(tmp_path)
    done = run_playbook(tmp_path, name, "--check", **given)
    assert done.returncode == 0, done.stdout
    assert said in done.stdout
    assert not (tmp_path / "answer").exists()
