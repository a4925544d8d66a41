# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes from Ansible's objects the few values that the trail needs.

ansible-core 2.19 gave results public properties and deprecates the names with an underscore,
which are all that 2.17 and 2.18 have. Nothing else looks at Ansible's objects.
"""

from __future__ import annotations

import dataclasses
import typing as t

_COLLECTION = "virtaudit.qemu."
ATTACH = f"{_COLLECTION}vm_net_attach"
DETACH = f"{_COLLECTION}vm_net_detach"
AUDIT_INFO = f"{_COLLECTION}vm_net_audit_info"
# This action plugin runs AUDIT_INFO and returns its findings.
_REPORT_READ = f"{_COLLECTION}audit_report_read"
ASYNC_STATUS = "async_status"
_OURS = frozenset((ATTACH, DETACH, AUDIT_INFO))
_ASYNC = frozenset(
    f"{each}{ASYNC_STATUS}" for each in ("ansible.builtin.", "ansible.legacy.", "")
)


@dataclasses.dataclass(frozen=True)
class Task:
    """A task on a host. ``machine`` is where it really ran, because a task can be delegated.

    ``module`` is the full name of one of our modules, or :data:`ASYNC_STATUS`.
    """

    key: tuple[str, str]
    inventory_host: str
    machine: str
    module: str
    name: str
    path: str | None
    loops: bool


@dataclasses.dataclass(frozen=True)
class Answer:
    """A task's result."""

    task: Task
    data: t.Mapping[str, t.Any]


def module_of(task: t.Any) -> str | None:
    """Return the module that a task runs if it is one of this collection or async_status, and otherwise ``None``.

    It uses the name that Ansible resolved. So it recognises the short name of a module of this collection, and does not
    confuse it with a module of another collection that has the same name.
    """
    action = str(task.action)
    # A template has no resolved name yet if this asks too early, and ansible-core 2.19 then warns.
    resolved = None if "{{" in action else getattr(task, "resolved_action", None)
    name = str(resolved or action)
    if name in _OURS:
        return name
    if name == _REPORT_READ:
        return AUDIT_INFO
    return ASYNC_STATUS if name in _ASYNC else None


def read_answer(result: t.Any) -> Answer | None:
    """Return the answer in a result, or ``None`` if the task is not ours."""
    public = hasattr(result, "task")
    task = result.task if public else result._task
    module = module_of(task)
    if module is None:
        return None
    host = str(result.host if public else result._host)
    data = result.result if public else result._result
    described = Task(
        key=(host, str(task._uuid)),
        inventory_host=host,
        machine=_machine(task, data) or host,
        module=module,
        name=str(result.task_name),
        path=str(task.get_path() or "") or None,
        loops=bool(task.loop or task.loop_with),
    )
    return Answer(described, data if isinstance(data, dict) else {})


def _machine(task: t.Any, data: t.Mapping[str, t.Any]) -> str | None:
    if not task.delegate_to:
        return None
    name = str(task.delegate_to)
    if "{{" not in name:
        return name
    # The result of a whole loop has no name of a machine, but its items have.
    delegated = data.get("_ansible_delegated_vars") or {}
    return delegated.get("ansible_delegated_host")
