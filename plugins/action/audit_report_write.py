# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the report on a fleet from the answers that audit_report_read has kept."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.controller_action import (
    ControllerAction,
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
    Outcome,
    Request,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.write import (
    write_report,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.printable import (
    printable,
)

# The failure of the play names this number of findings. The report has all of them.
_NAMED = 20


class ActionModule(ControllerAction):
    """Writes the report as a page, as JSON and as CSV."""

    PREFIX = "audit_report"
    SPEC: t.Mapping[str, t.Any] = {
        "dest": {"type": "str", "required": True},
        "fail_on": {"type": "list", "elements": "str", "default": []},
        "known": {"type": "list", "elements": "dict", "default": []},
    }

    def make(
        self,
        options: t.Mapping[str, t.Any],
        hosts: list[str],
        answers: Path,
        check_mode: bool,
    ) -> dict[str, t.Any]:
        """Write the report, and return why the play has to fail."""
        parse_known("known", options["known"], CODES)
        request = Request(
            hosts=hosts,
            answers=answers,
            directory=Path(absolute("dest", str(options["dest"]))),
            known=options["known"],
            fail_on=_fail_on(options["fail_on"]),
        )
        if check_mode:
            return {"changed": True, "dest": str(request.directory)}
        return {
            "changed": True,
            "dest": str(request.directory),
            **_result(write_report(request)),
        }


def _result(outcome: Outcome) -> dict[str, t.Any]:
    failing = outcome.failing
    codes = {each["code"] for each in failing}
    return {
        "files": outcome.files,
        "grants": outcome.grants,
        "findings": outcome.findings,
        "silent": outcome.silent,
        "unverified": outcome.unverified,
        "failing": {
            "count": len(failing),
            "codes": [code for code in CODES if code in codes],
            # Ansible prints the reason of a failure as it is, and a message can have the name of a VM or of a file.
            "messages": [printable(str(each["message"])) for each in failing[:_NAMED]],
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
