# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hash chain of a trail file: how a line is sealed, and how a file is checked.

A line is one JSON object whose last member is ``event``, and whose last member of that is ``hash``: the SHA-256
of all that stands before it on the line. ``virtaudit.previous.hash`` is the ``event.hash`` of the line before.

Needs nothing but Python, so that it also runs by itself:

    python3 chain.py FILE_OR_DIRECTORY...       ends with 0 (sound), 1 (broken) or 3 (unfinished)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import stat
import sys
import typing as t

# The hash that the first line of the first file continues.
GENESIS = "0" * 64

START = "run_start"
END = "run_end"

# <time>-<run id>.jsonl; in the order of time when sorted.
NAME = re.compile(
    r"(\d{8}T\d{6}\.\d{6}Z)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jsonl",
    re.ASCII,
)
_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"\}\}\n', re.ASCII)
# A line that breaks off has nothing after its seal. This one has something.
_SEALED = re.compile(rb',"hash":"[0-9a-f]{64}"\}\}.', re.ASCII)
_SEAL_BYTES = len(',"hash":""}}\n') + 64

Document = dict[str, t.Any]
# file, hash, and closed: whether it is the last line.
Anchor = t.Mapping[str, t.Any]
Status = t.Literal["sound", "unfinished", "broken"]


def ending(digest: str) -> bytes:
    """Return the end of a line with this hash."""
    return b',"hash":"%s"}}\n' % digest.encode("ascii", "replace")


def seal(document: Document) -> tuple[bytes, str]:
    """Return the line of a document, newline included, and its hash. ``event`` must be its last member."""
    # ASCII: no byte of a name from outside reaches a terminal, and lone surrogates can be written.
    body = json.dumps(document, separators=(",", ":"))[:-2].encode("ascii")
    digest = hashlib.sha256(body).hexdigest()
    return body + ending(digest), digest


class BrokenError(Exception):
    """A line differs from what was written, or stands in another place."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


def unseal(number: int, line: bytes) -> tuple[Document, str]:
    """Return the document and the hash of a line. Raises :class:`BrokenError` when its hash is not its own."""
    match = _SEAL.fullmatch(line, max(0, len(line) - _SEAL_BYTES))
    if match is None:
        raise BrokenError(number, "it has no hash at its end")
    if hashlib.sha256(line[: match.start()]).hexdigest().encode("ascii") != match[1]:
        raise BrokenError(number, "it was changed: its hash is that of another text")
    try:
        document = json.loads(line)
        shaped = _has_shape(document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        shaped = False
    if not shaped:
        raise BrokenError(number, "it is no line of a trail")
    return document, match[1].decode("ascii")


def _has_shape(document: Document) -> bool:
    """Tell whether a document has the right shape to be looked at and printed, because any text can have a right hash."""
    event, ours = document["event"], document["virtaudit"]
    texts = [event["action"], ours["run"]["id"], ours["previous"]["hash"]]
    for anchor in anchors(document):
        texts.append(anchor["hash"])
        if NAME.fullmatch(anchor["file"]) is None:
            return False
    return isinstance(event["sequence"], int) and all(
        isinstance(text, str) for text in texts
    )


def anchors(document: Document) -> list[Anchor]:
    """Return the lines of other files that the first line of a file continues. They show a later change of those files."""
    previous = document["virtaudit"]["previous"]
    if previous.get("file") is None:
        return []
    return [previous, *previous.get("also", ())]


@dataclasses.dataclass
class Checked:
    """The result of checking a file. ``head`` is the hash of the last line that continues the ones before it."""

    path: str
    lines: int = 0
    records: int = 0
    head: str = GENESIS
    run: str | None = None
    anchors: t.Sequence[Anchor] = ()
    closed: bool = False
    torn: bool = False
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
        """Return it as one line for people."""
        if self.problem is not None:
            return f"BROKEN      {self.path}: {self.problem}"
        counted = f"{self.lines} lines, {self.records} records, head {self.head}"
        if self.closed:
            return f"sound       {self.path}: {counted}"
        torn = f", and line {self.lines + 1} breaks off" if self.torn else ""
        return (
            f"unfinished  {self.path}: {counted}; there is no closing line{torn}. The run crashed, still goes on,"
            " or the end was cut off"
        )


def check_file(path: str) -> Checked:
    """Check one file by itself. Raises :class:`OSError` when it cannot be read."""
    found = Checked(path)
    with open(_open_regular(path), "rb") as handle:
        try:
            for line in handle:
                if not line.endswith(b"\n") and not found.closed:
                    if _SEALED.search(line) is not None:
                        raise BrokenError(found.lines + 1, "its end was changed")
                    found.torn = True
                    break
                _follow(found, line)
        except BrokenError as exc:
            found.problem = exc
        except (AttributeError, TypeError, KeyError):
            found.problem = BrokenError(found.lines + 1, "it is no line of a trail")
    return found


def _open_regular(path: str) -> int:
    # O_NONBLOCK, because opening a FIFO of that name would wait for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is no regular file")
    return fd


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
        found.closed = True
    found.lines, found.head = number, digest


def is_state(document: Document, action: str) -> bool:
    """Tell whether a line is about the run itself. In a record, the host chose the action."""
    event = document["event"]
    return (event["action"], event.get("kind")) == (action, "state")


def _begin(found: Checked, document: Document) -> None:
    if not is_state(document, START):
        raise BrokenError(1, "it does not open a run")
    ours = document["virtaudit"]
    found.run, found.anchors = ours["run"]["id"], anchors(document)
    match = NAME.fullmatch(found.name)
    if match is not None and match[2] != found.run:
        raise BrokenError(1, "the file has the name of another run")


def check_files(paths: t.Iterable[str]) -> list[Checked]:
    """Check files, and that each run continues the run before it. Raises :class:`OSError`."""
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
        # This is the first run of all. Several may have begun at once.
        return None if first or _all_began_at_once(each, known) else _ORPHAN
    for anchor in each.anchors:
        name = anchor["file"]
        before = known.get(name)
        if before is None:
            # Older files may have been put away, but there may be no gap between the files that are here.
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
    """Tell whether a file has a line of this hash. Raises :class:`OSError`."""
    with open(_open_regular(path), "rb") as handle:
        return any(line.endswith(ending(digest)) for line in handle)


def trail_files(path: str) -> list[str]:
    """Return the trail files of a directory, or the path of a file. Raises :class:`OSError`."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        return [path]
    return sorted(
        os.path.join(path, name) for name in os.listdir(path) if NAME.fullmatch(name)
    )


def main(*paths: str) -> int:
    """Check and print; return the exit status."""
    try:
        files = check_files([each for path in paths for each in trail_files(path)])
    except OSError as exc:
        print(f"BROKEN      {exc}")
        return 1
    for each in files:
        print(each.describe())
    if not files:
        print(f"BROKEN      there is no trail in {', '.join(paths) or 'nothing'}")
        return 1
    states = {each.status for each in files}
    return 1 if "broken" in states else 3 if "unfinished" in states else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
