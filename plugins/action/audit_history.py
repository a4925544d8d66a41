# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers who held a NIC, from what audit_report_read has read on the hosts."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.module_utils._time import parse_time
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.controller_action import (
    ControllerAction,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.history import (
    find,
    lines,
    write_csv,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.place import (
    absolute,
)


class ActionModule(ControllerAction):
    """Makes one history of the histories of all hosts."""

    PREFIX = "audit_history"
    SHORT = ("since",)
    SPEC: t.Mapping[str, t.Any] = {
        "dest": {"type": "str", "required": True},
        "since": {"type": "str"},
    }

    def make(
        self,
        options: t.Mapping[str, t.Any],
        hosts: list[str],
        answers: Path,
        check_mode: bool,
    ) -> dict[str, t.Any]:
        """Write the answer as CSV, and also return it as lines for people."""
        dest = absolute("dest", str(options["dest"]))
        since = options["since"]
        begin = None if since is None else parse_time("since", str(since))
        if check_mode:
            return {"changed": True, "dest": dest}
        found = find(answers, hosts, begin)
        write_csv(dest, found.held)
        return {
            "changed": True,
            "dest": dest,
            "history": found.held,
            "lines": lines(found),
            "silent": found.silent,
        }
