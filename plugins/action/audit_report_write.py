# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the report on a fleet of the answers that audit_report_read has kept."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    answers_directory,
    forget_answers,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.fleet import (
    CODES,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.known import (
    parse_known,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.place import (
    absolute,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.report import (
    Request,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.write import (
    write_report,
)

_SPEC: dict[str, t.Any] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "dest": {"type": "str", "required": True},
    "fail_on": {"type": "list", "elements": "str", "default": []},
    "known": {"type": "list", "elements": "dict", "default": []},
}
# So many findings are named in the play's failure; all are in the report.
_NAMED = 20


class ActionModule(ActionBase):
    """Runs on the controller, without a connection."""

    TRANSFERS_FILES = False

    def run(
        self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        """Check the options, and write the report."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(argument_spec=_SPEC)
        hosts = [str(host) for host in options["hosts"]]
        answers = answers_directory(str(constants.DEFAULT_LOCAL_TMP))
        try:
            request = Request(
                hosts=hosts,
                answers=answers,
                directory=Path(absolute("dest", str(options["dest"]))),
                known=_known(options["known"]),
                fail_on=_fail_on(options["fail_on"]),
            )
            if not hosts:
                raise OptionError("hosts", "is empty, so there is nothing to report on")
            if self._task.check_mode:
                return {"changed": True, "dest": str(request.directory)}
            outcome = write_report(request)
        except OptionError as exc:
            # Ansible prints the cause after it once more.
            raise AnsibleActionFail(
                f"audit_report_{exc}. Nothing was written"
            ) from None
        except OSError as exc:
            raise AnsibleActionFail(
                f"audit_report_dest: the report cannot be written: {exc}"
            ) from None
        finally:
            forget_answers(answers, hosts)
        failing = outcome.failing
        return {
            "changed": True,
            "dest": str(request.directory),
            "files": outcome.files,
            "grants": outcome.grants,
            "findings": outcome.findings,
            "silent": outcome.silent,
            "unverified": outcome.unverified,
            "failing": {
                "count": len(failing),
                "codes": [
                    code
                    for code in CODES
                    if any(each["code"] == code for each in failing)
                ],
                "messages": [str(each["message"]) for each in failing[:_NAMED]],
            },
        }


def _fail_on(codes: t.Sequence[str]) -> list[str]:
    unknown = [code for code in codes if code not in CODES]
    if unknown:
        raise OptionError(
            "fail_on",
            f"no such code: {', '.join(unknown)}; there are {', '.join(CODES)}",
        )
    return list(codes)


def _known(items: t.Any) -> t.Any:
    parse_known("known", items, CODES)
    return items
