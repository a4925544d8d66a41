# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks trails: each file, that each run continues the run before, and that nothing is missing at either end.

This needs nothing but Python:

    PYTHONPATH=plugins/plugin_utils python3 -m _trail.verify [OPTION...] FILE_OR_DIRECTORY

The exit status is 0 (sound), 1 (broken, cut, or different from what is known) or 3 (unfinished).
"""

from __future__ import annotations

import argparse
import os
import sys
import typing as t

from .chain import (
    Checked,
    check_files,
    holds_line,
    trail_files,
)
from .heads import Head, HeadError, check_signature, read_heads
from .printable import printable


class Verdict(t.NamedTuple):
    """The result for a file, or for a missing one. ``status`` is the exit status that the file alone would give."""

    status: int
    text: str


def verify(
    path: str,
    begin: str | None = None,
    head: str | None = None,
    heads: t.Sequence[Head] = (),
    signers: str | None = None,
) -> list[Verdict]:
    """Check a directory or a file.

    ``begin`` is the name of the oldest file that must be there, or the beginning of that name. ``head`` is a hash that
    some line must have. ``heads`` say how files ended. ``signers`` is an allowed-signers file: one of them must have
    signed each run that ended. Raises :class:`OSError`.
    """
    # Every name begins with an empty text, so that would leave out the check of the start.
    begin = begin or None
    files = check_files(trail_files(path))
    if not files:
        return [Verdict(1, f"BROKEN      there is no trail in {path}")]
    whole = os.path.isdir(path)
    missing = _missing(path, files, heads, begin) if whole else []
    if head is not None and not any(holds_line(each.path, head) for each in files):
        missing.append(
            Verdict(1, f"BROKEN      {path}: no line has the known head {head}")
        )
    # Somebody who rewrites a file can also send its new head, but cannot take the first head back.
    told: dict[str, list[Head]] = {}
    for each_head in heads:
        told.setdefault(os.path.basename(each_head.file), []).append(each_head)
    here = {each.name for each in files} if whole else None
    return [
        *missing,
        *(
            _judge(each, files, begin, told.get(each.name, ()), signers, here)
            for each in files
        ),
    ]


def _judge(
    each: Checked,
    files: t.Sequence[Checked],
    begin: str | None,
    known: t.Sequence[Head],
    signers: str | None,
    here: set[str] | None,
) -> Verdict:
    """Judge a file. ``here`` has the names of all files of the directory, if it is a whole directory."""
    if each.problem is not None:
        return Verdict(1, each.describe())
    for head in known:
        if head.head != each.head:
            return Verdict(
                1,
                f"BROKEN      {each.path}: a known head says that it ended with {head.lines} lines and head {head.head}. Now it ends with"
                f" {each.lines} lines and head {each.head}: it was cut or rewritten",
            )
    if cut := None if here is None else _cut(each, files, here, begin):
        return Verdict(1, cut)
    if not each.closed:
        by = _anchored(each, files)
        if by is None:
            return Verdict(3, each.describe())
        if os.path.lexists(f"{each.path}.sig"):
            return Verdict(
                1,
                f"BROKEN      {each.path}: it has a signature, so it had a closing line, and now it has none",
            )
        return Verdict(
            0,
            f"anchored    {each.path}: {each.lines} lines, {each.records} records, head {each.head}; its run wrote no"
            f" closing line, and the later file {by} vouches for these lines",
        )
    said = each.describe()
    if signers is not None:
        try:
            who = check_signature(signers, f"{each.path}.sig", each.head)
        except HeadError as exc:
            return Verdict(1, f"BROKEN      {each.path}: {exc}")
        said += f", signed by {who}"
    return Verdict(0, said)


def _cut(
    each: Checked, files: t.Sequence[Checked], here: set[str], begin: str | None
) -> str | None:
    """Return what is missing at the start of the directory, as the oldest file or the anchors of a file show it."""
    if begin is not None and each is files[0]:
        # If all files are older, the oldest file that must be there is missing too.
        kept = each.name < begin <= files[-1].name or each.name.startswith(begin)
        if not kept:
            return f"CUT         {each.path}: it is cut at its start: the oldest file should be {begin}, and it is missing"
    # Somebody can also put a forged file before the others, so the oldest file alone shows nothing.
    names = [str(anchor["file"]) for anchor in each.anchors]
    names = [
        name for name in names if name not in here and (begin is None or name >= begin)
    ]
    if not names:
        return None
    return (
        f"CUT         {each.path}: it is cut at its start: this run continues {' and '.join(names)}, which is missing. If you have moved older"
        " files away, give the name of the oldest file that you keep as trail_verify_from"
    )


def _anchored(each: Checked, files: t.Sequence[Checked]) -> str | None:
    """Return the file of a later run that found this file as it is now, after the run of this file had ended."""
    for other in files:
        for anchor in other.anchors:
            found = (anchor["file"], anchor["hash"]) == (each.name, each.head)
            if found and not anchor.get("running"):
                return other.name
    return None


def _missing(
    path: str, files: t.Sequence[Checked], heads: t.Sequence[Head], begin: str | None
) -> list[Verdict]:
    """Return the files that were in the directory, by what is known, and are not there."""
    names = {each.name for each in files}
    # A copy of a trail, or a trail that was moved, has the heads of another directory, of which it has a file. If no head
    # belongs to a file here, each head may belong to the trail.
    directories = {os.path.realpath(path)}
    directories |= {
        os.path.dirname(each.file)
        for each in heads
        if os.path.basename(each.file) in names
    }
    ours = [each for each in heads if os.path.dirname(each.file) in directories]
    found = []
    for each in ours or heads:
        name = os.path.basename(each.file)
        put_away = begin is not None and name < begin
        if name not in names and not put_away:
            found.append(
                Verdict(
                    1,
                    f"BROKEN      {each.file}: it is missing. A known head says that it had {each.lines} lines"
                    f" and head {each.head}",
                )
            )
    return found


def main(arguments: t.Sequence[str]) -> int:
    """Check, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="verify")
    parser.add_argument("path")
    parser.add_argument("--from", dest="begin")
    parser.add_argument("--head")
    parser.add_argument("--heads-from")
    parser.add_argument("--signers")
    options = parser.parse_args(arguments)
    try:
        heads = read_heads(options.heads_from) if options.heads_from else []
        verdicts = verify(
            options.path, options.begin, options.head, heads, options.signers
        )
    except (OSError, HeadError) as exc:
        print(printable(f"BROKEN      {exc}"))
        return 1
    for verdict in verdicts:
        # Each user of the controller can send a line to syslog with the name of a file.
        print(printable(verdict.text))
    states = {verdict.status for verdict in verdicts}
    return 1 if 1 in states else max(states)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
