# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the files of the callback audit_trail with what audit_report_read has read of the hosts' logs."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    answer_name,
    answers_directory,
    forget_answers,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.place import (
    absolute,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.reconciliation import (
    reconcile,
    table,
)

_SPEC: dict[str, t.Any] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "path": {"type": "str", "required": True},
    "dest": {"type": "str"},
    "begin": {"type": "str"},
}
_NAMED = 100


class ActionModule(ActionBase):
    """Runs on the controller, without a connection."""

    TRANSFERS_FILES = False

    def run(
        self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        """Compare, write the whole as JSON, and return it short."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(argument_spec=_SPEC)
        hosts = [str(host) for host in options["hosts"]]
        answers = answers_directory(str(constants.DEFAULT_LOCAL_TMP))
        try:
            path = absolute("path", str(options["path"]))
            dest = options["dest"] and absolute("dest", str(options["dest"]))
            if self._task.check_mode:
                return {"changed": dest is not None}
            result = reconcile(path, hosts, _reader(answers), options["begin"])
            if dest is not None:
                _write(dest, result)
        except OptionError as exc:
            raise AnsibleActionFail(f"trail_reconcile_{exc}") from None
        except OSError as exc:
            raise AnsibleActionFail(f"trail_reconcile: {exc}") from None
        finally:
            if not self._task.check_mode:
                forget_answers(answers, hosts)
        lines = table(result)
        return {
            "changed": dest is not None,
            "sound": result["sound"],
            "lines": lines[:_NAMED],
            "dest": dest,
        }


def _reader(answers: Path) -> t.Callable[[str], str | None]:
    def read(host: str) -> str | None:
        try:
            return (answers / answer_name(host)).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    return read


def _write(dest: str, result: dict[str, t.Any]) -> None:
    part = f"{dest}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as out:
        json.dump(result, out, indent=2)
        out.write("\n")
    os.replace(part, dest)
