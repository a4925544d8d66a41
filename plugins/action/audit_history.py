# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers who held a NIC, of what audit_report_read has read on the hosts."""

from __future__ import annotations

import typing as t

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._time import parse_time
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    answers_directory,
    forget_answers,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.history import (
    find,
    lines,
    write_csv,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.place import (
    absolute,
)

_SPEC: dict[str, t.Any] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "dest": {"type": "str", "required": True},
    "since": {"type": "str"},
}


class ActionModule(ActionBase):
    """Runs on the controller, without a connection."""

    TRANSFERS_FILES = False

    def run(
        self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        """Put the answers together, and write them as CSV."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(argument_spec=_SPEC)
        hosts = [str(host) for host in options["hosts"]]
        answers = answers_directory(str(constants.DEFAULT_LOCAL_TMP))
        since = options["since"]
        try:
            dest = absolute("dest", str(options["dest"]))
            begin = None if since is None else parse_time("since", str(since))
            if self._task.check_mode:
                return {"changed": True, "dest": dest}
            found = find(answers, hosts, begin)
            write_csv(dest, found.held)
        except OptionError as exc:
            raise AnsibleActionFail(f"audit_history_{exc}") from None
        except OSError as exc:
            raise AnsibleActionFail(f"audit_history_dest: {exc}") from None
        finally:
            if not self._task.check_mode:
                forget_answers(answers, hosts)
        return {
            "changed": True,
            "dest": dest,
            "history": found.held,
            "lines": lines(found),
            "silent": found.silent,
        }
