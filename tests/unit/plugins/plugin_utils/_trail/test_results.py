# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.results import (
    ATTACH,
    read_answer,
)


def a_result_of(delegate_to: str | None, **data: t.Any) -> types.SimpleNamespace:
    """Return the parts of Ansible's result that the callback looks at."""
    task = types.SimpleNamespace(
        action=ATTACH,
        delegate_to=delegate_to,
        loop=None,
        loop_with=None,
        get_path=lambda: "/play.yml:3",
        _uuid="u",
    )
    return types.SimpleNamespace(task=task, host="hv1", task_name="Task", result=data)


def machine_of(*args: t.Any, **data: t.Any) -> str:
    answer = read_answer(a_result_of(*args, **data))
    assert answer is not None
    return answer.task.machine


def test_a_machine_goes_by_its_name_in_the_inventory() -> None:
    delegated = {"ansible_delegated_host": "hv2", "ansible_host": "192.0.2.2"}
    assert machine_of(None) == "hv1"
    assert machine_of("hv2") == "hv2"
    assert machine_of("{{ item }}") == "hv1"
    assert machine_of("{{ item }}", _ansible_delegated_vars=delegated) == "hv2"
