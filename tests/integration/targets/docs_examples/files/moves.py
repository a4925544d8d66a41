# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the bars of a NIC from the time line of a report, as its reader sees them.

    moves.py PAGE MAC

It prints a list as JSON: the begin and the end of each bar, in percent of the line, and its text.
"""

from __future__ import annotations

import html.parser
import json
import re
import sys
import typing as t
from pathlib import Path


class Rows(html.parser.HTMLParser):
    """Collects the rows of the time line: the place of a bar, its label and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, t.Any]] = []
        self._part: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        classes = given.get("class", "").split()
        self._part = None
        if tag == "details":
            self.rows.append({"label": "", "text": ""})
        elif "label" in classes:
            self._part = "label"
        elif tag == "p":
            self._part = "text"
        elif "bar" in classes:
            place = re.fullmatch(r"left:([\d.]+)%;width:([\d.]+)%", given["style"])
            assert place is not None, given
            left, width = map(float, place.groups())
            self.rows[-1].update(left=left, right=round(left + width, 2))

    def handle_endtag(self, tag: str) -> None:
        self._part = None

    def handle_data(self, data: str) -> None:
        if self._part is not None:
            self.rows[-1][self._part] += data


def main(page: Path, mac: str) -> None:
    found = Rows()
    found.feed(page.read_text(encoding="utf-8").partition('<section id="timeline">')[2])
    print(json.dumps([row for row in found.rows if row["label"] == mac]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
