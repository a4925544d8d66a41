# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the files of the callback audit_trail with the hosts' logs, which audit_report_read has read."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    answer_name,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.controller_action import (
    ControllerAction,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.place import (
    absolute,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.whole import (
    written_whole,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.reconciliation import (
    reconcile,
    shortened,
    table,
)

_NAMED = 100


class ActionModule(ControllerAction):
    """Compares all files with all hosts."""

    PREFIX = "trail_reconcile"
    SPEC: t.Mapping[str, t.Any] = {
        "path": {"type": "str", "required": True},
        "dest": {"type": "str"},
        "begin": {"type": "str"},
    }

    def make(
        self,
        options: t.Mapping[str, t.Any],
        hosts: list[str],
        answers: Path,
        check_mode: bool,
    ) -> dict[str, t.Any]:
        """Write the whole answer as JSON, and return a short one."""
        path = _directory(absolute("path", str(options["path"])))
        dest = options["dest"] and absolute("dest", str(options["dest"]))
        if check_mode:
            return {"changed": dest is not None}
        result = reconcile(path, hosts, _reader(answers), options["begin"])
        if dest is not None:
            _write(dest, result)
        return {
            "changed": dest is not None,
            "sound": result["sound"],
            "lines": shortened(table(result), _NAMED, dest),
            "dest": dest,
        }


def _directory(path: str) -> str:
    # The callback follows no link either.
    if os.path.islink(path) or not os.path.isdir(path):
        raise OptionError(
            "path",
            f"{path} is not a directory; give the directory into which the callback writes",
        )
    return path


def _reader(answers: Path) -> t.Callable[[str], str | None]:
    def read(host: str) -> str | None:
        try:
            return (answers / answer_name(host)).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    return read


def _write(dest: str, result: dict[str, t.Any]) -> None:
    with written_whole(dest, 0o600) as out:
        json.dump(result, out, indent=2)
        out.write("\n")
