# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes reports of hosts' answers, and reads them."""

from __future__ import annotations

import csv
import json
import typing as t
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    keep_answer,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.report import (
    Outcome,
    Request,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.write import (
    write_report,
)
from ansible_collections.virtaudit.qemu.tests.support.answers import BEGAN

NOW = BEGAN + 3600
Data = dict[str, t.Any]


class Reports:
    """Writes reports into one directory."""

    def __init__(self, path: Path) -> None:
        self.answers, self.directory = path / "answers", path / "report"

    def write(self, answers: t.Mapping[str, Data | None], **options: t.Any) -> Outcome:
        for host, given in answers.items():
            if given is not None:
                keep_answer(self.answers, host, given)
        options.setdefault("now", NOW)
        return write_report(
            Request(list(answers), self.answers, self.directory, **options)
        )

    def data(self) -> t.Any:
        return json.loads((self.directory / "audit_report.json").read_bytes())

    def page(self, name: str = "audit_report.html") -> str:
        return (self.directory / name).read_text(encoding="utf-8")

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.directory / name).open(encoding="utf-8", newline="") as handle:
            return list(csv.DictReader(handle))
