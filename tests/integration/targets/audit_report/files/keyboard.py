# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uses a page of the audit report without a mouse.

keyboard.py PAGE SEARCH     reach each bar with Tab and open it with Enter, then type a search; print as JSON the text of each
                            bar, and the results of the search
"""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.support.chromium import Chromium, chromium

_MOST = 500
_FOCUSED = "document.activeElement"
_DETAIL = f"""(() => {{
  const text = {_FOCUSED}.nextElementSibling;
  return text.checkVisibility() ? text.textContent : null;
}})()"""
_ROWS = """(() => Array.from(document.querySelectorAll("tr.grant"))
  .filter((row) => row.checkVisibility()).map((row) => row.cells[2].textContent))()"""
_SAID = """(async () => {
  await new Promise((done) => setTimeout(done, 300));
  return document.getElementById("said").textContent;
})()"""


def walk(browser: Chromium) -> t.Iterator[str | None]:
    """Go through the page with Tab, and open each bar. Return the texts of the bars."""
    for _step in range(_MOST):
        browser.press("Tab")
        if browser.value(f"{_FOCUSED} === document.body"):
            return
        if browser.value(f"{_FOCUSED}.matches('details.row > summary')"):
            before = browser.value(_DETAIL)
            browser.press("Enter")
            yield None if before is not None else browser.value(_DETAIL)


def search(browser: Chromium, text: str) -> dict[str, t.Any]:
    """Type into the search of a page that was just opened."""
    for _step in range(_MOST):
        browser.press("Tab")
        if browser.value(f"{_FOCUSED}.name === 'any'"):
            break
    browser.type(text)
    return {"said": browser.value(_SAID), "macs": browser.value(_ROWS)}


def main(page: Path, text: str) -> None:
    with chromium() as browser:
        browser.open(page)
        result: dict[str, t.Any] = {
            "bars": browser.value("document.querySelectorAll('.bar').length"),
            "told": list(walk(browser)),
        }
        browser.open(page)
        result["found"] = search(browser, text)
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
