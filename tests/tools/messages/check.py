# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check that the troubleshooting page has every message that the collection raises, and no others.

    check.py          compare the page with the code; print each line that is to be added or removed
    check.py --list   print all messages, each with the file and line that raises it

A message stands in the page as a term of a definition list, in double backquotes. Several messages may share a term.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.tools.messages.sites import (
    Sites,
)
from ansible_collections.virtaudit.qemu.tests.tools.messages.tasks import (
    read_shell,
    read_tasks,
)
from ansible_collections.virtaudit.qemu.tests.tools.messages.words import Found

PAGE = Path("docs/docsite/rst/troubleshooting.rst")
ROOT = Path(__file__).parents[3]
_TERM = re.compile(r"^``.*``$")
_MESSAGE = re.compile(r"``(.+?)``(?=,|$)")


def raised(root: Path) -> list[Found]:
    """Return the messages that plugins/, roles/ and playbooks/ raise, one for each text."""
    python = Sites()
    for path in sorted(root.glob("plugins/**/*.py")) + sorted(
        root.glob("roles/*/files/*.py")
    ):
        python.add(path.relative_to(root), path.read_text(encoding="utf-8"))
    found = python.find()
    for folder in ("roles", "playbooks"):
        for path in sorted(root.glob(f"{folder}/**/*.yml")):
            if "meta" not in path.parts:
                found += read_tasks(
                    path.relative_to(root), path.read_text(encoding="utf-8")
                )
    for path in sorted(root.glob("roles/*/files/*")):
        if path.suffix == "":
            found += read_shell(
                path.relative_to(root), path.read_text(encoding="utf-8")
            )
    unique: dict[str, Found] = {}
    for each in found:
        unique.setdefault(each.text, each)
    return sorted(unique.values())


def documented(page: str) -> dict[str, int]:
    """Return the messages of the page, each with the number of its line."""
    return {
        text: number
        for number, line in enumerate(page.splitlines(), 1)
        if _TERM.fullmatch(line)
        for text in _MESSAGE.findall(line)
    }


def compare(found: list[Found], page: str) -> list[str]:
    """Return in words what to change in the page, or nothing if the page is complete."""
    there = documented(page)
    texts = {each.text for each in found}
    missing = [
        f"{PAGE} lacks a message of {each.path}:{each.line}. Add this line at its place in the alphabet, and below it, indented,"
        f" why it comes and what to do:\n``{each.text}``"
        for each in found
        if each.text not in there
    ]
    stale = [
        f"{PAGE}:{line} has a message that nothing raises. Remove it:\n``{text}``"
        for text, line in there.items()
        if text not in texts
    ]
    return missing + stale


def main(*words: str) -> int:
    """Compare and print; return the exit status."""
    found = raised(ROOT)
    if words == ("--list",):
        for each in found:
            print(f"{each.path}:{each.line}: {each.text}")
        return 0
    problems = compare(found, (ROOT / PAGE).read_text(encoding="utf-8"))
    for problem in problems:
        print(problem)
    print(f"{len(found)} messages, {len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
