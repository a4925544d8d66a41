# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells what is new since the last report."""

from __future__ import annotations

import collections

from .answer import Data
from .fleet import identity
from .last import Last


class News:
    """Gives each finding its id, and marks findings and grants that the last report did not have."""

    def __init__(self, last: Last) -> None:
        self._last = last
        self._ids: dict[str, int] = collections.defaultdict(int)

    @property
    def since(self) -> str | None:
        """When the last report was made."""
        return self._last.created

    def mark_grant(self, grant: Data) -> None:
        """Set ``new`` of a grant."""
        grant["new"] = self._last.created is not None and (
            grant["since"] > self._last.created
        )

    def mark_finding(self, finding: Data) -> None:
        """Set ``id`` and ``new`` of a finding. If there is one more of the same, that one is new."""
        known = identity(finding)
        self._ids[known] += 1
        number = self._ids[known]
        finding["id"] = known if number == 1 else f"{known}-{number}"
        finding["new"] = self._last.created is not None and (
            finding["id"] not in self._last.findings
        )
