# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a host read its trail, and keeps the answer on the controller's disk.

The answers of a whole fleet are too large for memory.
"""

from __future__ import annotations

import typing as t

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    answers_directory,
    keep_answer,
)

_MODULE = "virtaudit.qemu.vm_net_audit_info"
_KEPT = (
    "failed",
    "unreachable",
    "msg",
    "grants",
    "findings",
    "sessions",
    "history",
    "events",
    "stats",
    "asked",
)
# The callback audit_trail needs these, and so does a person who looks at the task.
_RETURNED = ("findings", "stats", "asked", "warnings", "msg", "failed", "exception")


class ActionModule(ActionBase):
    """Runs in a worker process of Ansible, so Ansible's main process never holds the answers."""

    TRANSFERS_FILES = False

    def run(
        self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        """Run vm_net_audit_info with the task's options."""
        super().run(tmp, task_vars)
        host = str((task_vars or {})["inventory_hostname"])
        try:
            answer = self._execute_module(
                module_name=_MODULE,
                module_args=dict(self._task.args),
                task_vars=task_vars,
            )
        except AnsibleError as exc:
            self._keep(host, {"failed": True, "msg": str(exc)})
            raise
        kept = {name: answer[name] for name in _KEPT if name in answer}
        # A template may give the text "false", which the module takes for false.
        compared = boolean(self._task.args.get("verify"), strict=False)
        self._keep(host, {**kept, "verified": compared})
        returned = {name: answer[name] for name in _RETURNED if name in answer}
        return {"changed": False, **returned}

    def _keep(self, host: str, answer: t.Mapping[str, t.Any]) -> None:
        directory = answers_directory(str(constants.DEFAULT_LOCAL_TMP))
        try:
            keep_answer(directory, host, answer)
        except OSError as exc:
            raise AnsibleError(
                f"the answer of {host} cannot be kept in {directory}: {exc.strerror}"
            ) from exc
