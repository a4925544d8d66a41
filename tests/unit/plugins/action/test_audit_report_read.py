# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import types
import typing as t
from pathlib import Path

import pytest
from ansible import constants
from ansible.plugins.action import ActionBase

from ansible_collections.virtaudit.qemu.plugins.action.audit_report_read import (
    ActionModule,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    answer_name,
    answers_directory,
)


class Read(ActionModule):
    """The action, with a module that answers at once."""

    def __init__(self, **args: t.Any) -> None:
        self._task = types.SimpleNamespace(args=args)

    def _execute_module(self, **_given: t.Any) -> dict[str, t.Any]:
        return {"grants": [], "findings": []}


@pytest.mark.parametrize(
    ("verify", "verified"),
    [
        (True, True),
        ("yes", True),
        ("True", True),
        (False, False),
        ("false", False),
        ("no", False),
        (None, False),
    ],
)
def test_the_report_says_compared_only_if_the_module_compared(
    verify: t.Any, verified: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(ActionBase, "run", lambda *args: {})
    Read(verify=verify).run(None, {"inventory_hostname": "hv1"})
    path = answers_directory(str(tmp_path)) / answer_name("hv1")
    assert json.loads(path.read_text("utf-8"))["verified"] is verified
