# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hash chain of trail files: checks each file, and that each run continues the run before.

This file needs nothing but Python, because the check of trails also runs without Ansible.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import typing as t

from .line import (
    END,
    GENESIS,
    NAME,
    START,
    Anchor,
    BrokenError,
    Document,
    anchors,
    ending,
    is_state,
    unseal,
    was_sealed,
)
from .regular import open_regular

Status = t.Literal["sound", "unfinished", "broken"]


@dataclasses.dataclass
class Checked:
    """The result of the check of a file. ``head`` is the hash of the last line that continues the lines before it.

    ``began`` is the time of the first line. ``unwritten`` is the number of lines that the run could not write, as its
    closing line says.
    """

    path: str
    lines: int = 0
    records: int = 0
    head: str = GENESIS
    run: str | None = None
    began: str | None = None
    anchors: t.Sequence[Anchor] = ()
    closed: bool = False
    torn: bool = False
    unwritten: int = 0
    problem: BrokenError | None = None

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def status(self) -> Status:
        if self.problem is not None:
            return "broken"
        return "sound" if self.closed else "unfinished"

    def describe(self) -> str:
        """Return the result as one line for people."""
        if self.problem is not None:
            return f"BROKEN      {self.path}: {self.problem}"
        counted = f"{self.lines} lines, {self.records} records, head {self.head}"
        if self.closed and self.unwritten:
            return f"sound       {self.path}: {counted}, and the run could not write {self.unwritten} further lines"
        if self.closed:
            return f"sound       {self.path}: {counted}"
        torn = f", and line {self.lines + 1} breaks off" if self.torn else ""
        return (
            f"unfinished  {self.path}: {counted}, and there is no closing line{torn}. The run crashed, still goes on,"
            " or the end was cut off"
        )


def check_file(path: str) -> Checked:
    """Check one file by itself."""
    found = Checked(path)
    try:
        with open(open_regular(path), "rb") as handle:
            for line in handle:
                if not line.endswith(b"\n") and not found.closed:
                    if was_sealed(line):
                        raise BrokenError(found.lines + 1, "its end was changed")
                    found.torn = True
                    break
                _follow(found, line)
    except BrokenError as exc:
        found.problem = exc
    except OSError as exc:
        # The other files of the directory are checked nevertheless.
        found.problem = BrokenError(
            found.lines + 1, f"it cannot be read: {exc.strerror}"
        )
    except (AttributeError, TypeError, KeyError, ValueError, OverflowError):
        found.problem = BrokenError(found.lines + 1, "it is no line of a trail")
    return found


def _follow(found: Checked, line: bytes) -> None:
    number = found.lines + 1
    if found.closed:
        raise BrokenError(number, "it stands after the closing line")
    document, digest = unseal(number, line)
    event, ours = document["event"], document["virtaudit"]
    if event["sequence"] != number:
        raise BrokenError(
            number,
            f"here stands what was written as line {event['sequence']}: lines were removed, added or moved",
        )
    if number == 1:
        _begin(found, document)
    elif ours["previous"]["hash"] != found.head:
        raise BrokenError(number, "it does not follow the line before it")
    elif ours["run"]["id"] != found.run:
        raise BrokenError(number, "it is of another run")
    found.records += event.get("kind") == "event"
    if is_state(document, END):
        if ours["summary"]["records"] != found.records:
            raise BrokenError(number, "it counts other records than there are")
        found.closed, found.unwritten = True, int(ours["summary"].get("unwritten", 0))
    found.lines, found.head = number, digest


def _begin(found: Checked, document: Document) -> None:
    if not is_state(document, START):
        raise BrokenError(1, "it does not open a run")
    ours = document["virtaudit"]
    found.run, found.anchors = ours["run"]["id"], anchors(document)
    found.began = str(document.get("@timestamp"))
    match = NAME.fullmatch(found.name)
    if match is not None and match[2] != found.run:
        raise BrokenError(1, "the file has the name of another run")


def check_files(paths: t.Iterable[str]) -> list[Checked]:
    """Check files, and check that each run continues the run before it."""
    files = [check_file(path) for path in sorted(paths, key=os.path.basename)]
    known = {each.name: each for each in files}
    for position, each in enumerate(files):
        if each.problem is None and each.lines:
            each.problem = _problem_of_link(each, known, first=position == 0)
    return files


def _problem_of_link(
    each: Checked, known: t.Mapping[str, Checked], first: bool
) -> BrokenError | None:
    if not each.anchors:
        # This is the first run of all. Several runs may have begun at the same time.
        return None if first or _all_began_at_once(each, known) else _ORPHAN
    for anchor in each.anchors:
        name = anchor["file"]
        before = known.get(name)
        if before is None:
            # Somebody may have moved older files away. But no file may be missing between the files that are here.
            if any(other < name for other in known):
                return BrokenError(1, f"it continues {name}, which is missing")
        elif not _stands(anchor, before):
            return BrokenError(
                1,
                f"it continues {name} from a line that is not there: {name} was cut or rewritten after this run began",
            )
    return None


def _stands(anchor: Anchor, file: Checked) -> bool:
    if anchor.get("closed"):
        return file.closed and file.head == anchor["hash"]
    return holds_line(file.path, anchor["hash"])


_ORPHAN = BrokenError(1, "it continues no run, though there were runs before it")


def _all_began_at_once(each: Checked, known: t.Mapping[str, Checked]) -> bool:
    return all(not other.anchors for other in known.values() if other.name < each.name)


def holds_line(path: str, digest: str) -> bool:
    """Tell whether a file has a line of this hash. A file that cannot be read has none."""
    try:
        with open(open_regular(path), "rb") as handle:
            return any(line.endswith(ending(digest)) for line in handle)
    except OSError:
        return False


def trail_files(path: str) -> list[str]:
    """Return the trail files of a directory, or the path of a file. Raises :class:`OSError`."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        return [path]
    return sorted(
        os.path.join(path, name) for name in os.listdir(path) if NAME.fullmatch(name)
    )
