# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the last report of the directory, to tell what is new since then."""

from __future__ import annotations

import csv
import re
import sys
import typing as t
from pathlib import Path

_CREATED = re.compile(
    r'"created": "(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"', re.ASCII
)


class Last(t.NamedTuple):
    """When the last report was made, and the ids of its findings. Without a report ``created`` is ``None``."""

    created: str | None
    findings: frozenset[str]

    @classmethod
    def read(cls, directory: Path) -> Last:
        """Read the last report. A report of an older version has no list of findings to compare with."""
        # A message of a host can have any length. Without this setting, csv reads at most 131072 characters of a field.
        csv.field_size_limit(sys.maxsize)
        try:
            with (directory / "audit_report.json").open(encoding="utf-8") as handle:
                match = _CREATED.search(handle.read(4096))
            with (directory / "findings.csv").open(
                encoding="utf-8", newline=""
            ) as handle:
                ids = frozenset(row["id"] for row in csv.DictReader(handle))
        except (OSError, ValueError, KeyError, csv.Error):
            return cls(None, frozenset())
        return cls(match[1], ids) if match else cls(None, frozenset())
