# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.action.audit_report_write import (
    ActionModule,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    keep_answer,
)
from ansible_collections.virtaudit.qemu.tests.support.answers import answer


def test_the_reason_of_a_failure_cannot_control_the_terminal(tmp_path: Path) -> None:
    given = answer(1, 1, findings=1)
    finding = given["findings"][0]
    finding["message"] = "VM \x1b[2J\u202e\nok: [hv1]"
    keep_answer(tmp_path / "answers", "hv1", given)
    options = {"dest": str(tmp_path / "to"), "fail_on": [finding["code"]], "known": []}
    # The action itself needs a connection and a task, and its work does not.
    action = ActionModule.__new__(ActionModule)
    result = action.make(options, ["hv1"], tmp_path / "answers", check_mode=False)
    messages = result["failing"]["messages"]
    assert messages[0] == r"VM \x1b[2J\u202e\nok: [hv1]"
    assert all(each.isprintable() for each in messages)
