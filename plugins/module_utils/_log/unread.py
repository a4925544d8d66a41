# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collects what could not be read, which is whole logs, and lines with records of VMs."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

if t.TYPE_CHECKING:
    from .files import LogFile

# For each log, the module tells at most this many reasons apart. A reason may have a text that a user chose.
_MAX_REASONS = 20
# So many names are in a message.
_SHOWN = 10
_MORE = "there are more reasons than the module tells apart"


def first_of(names: t.Sequence[str]) -> str:
    """Return names as words. Of many names, return only the first ones."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


@dataclasses.dataclass
class Problem:
    """A log that could not be read to its end or, with ``lines``, as many unreadable lines of it.

    ``problem`` says why, in words. ``line`` is the number of the first such line, counted from 1.
    """

    path: str
    problem: str
    lines: int = 0
    line: int | None = None

    def result(self) -> dict[str, t.Any]:
        """Return the module's value."""
        found = {"path": self.path, "problem": self.problem}
        lines = {"lines": self.lines, "line": self.line} if self.lines else {}
        return {**found, **lines}


class Unread:
    """Collects what could not be read. For each log and reason it keeps the number of lines, and the first of them."""

    def __init__(self) -> None:
        self._problems: dict[tuple[str, str], Problem] = {}
        self._first: dict[tuple[str, str], tuple[LogFile, int]] = {}
        self._reasons: collections.Counter[str] = collections.Counter()

    def log(self, path: str, problem: str) -> None:
        """Take a log that could not be read to its end."""
        self._problems.setdefault((path, problem), Problem(path, problem))

    def line(self, log: LogFile, offset: int, problem: str) -> None:
        """Take a line that begins at ``offset`` of a log's content."""
        if (log.path, problem) not in self._problems:
            self._reasons[log.path] += 1
            if self._reasons[log.path] > _MAX_REASONS:
                problem = _MORE
        key = (log.path, problem)
        known = self._problems.setdefault(key, Problem(log.path, problem))
        known.lines += 1
        first = self._first.get(key)
        if first is None or offset < first[1]:
            self._first[key] = (log, offset)

    def add(self, other: Unread) -> None:
        """Take everything that another reading could not read."""
        self._problems.update(other._problems)
        self._first.update(other._first)

    def count_lines(self) -> None:
        """Find out the numbers of the first lines, while the logs are open."""
        for key, (log, offset) in self._first.items():
            self._problems[key].line = log.line_number(offset)

    def __iter__(self) -> t.Iterator[Problem]:
        return iter(self._problems.values())

    def __bool__(self) -> bool:
        return bool(self._problems)
