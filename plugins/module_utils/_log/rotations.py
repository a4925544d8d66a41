# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the rotated files of a log, tells their order, and tells which are missing between the others.

Sources: ``auditd.conf(5)``, ``logrotate(8)``.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import re
import typing as t

if t.TYPE_CHECKING:
    from .files import LogFile

# By number, or by date (logrotate(8), dateext).
_ROTATION = r"(?:\.(\d{1,6})|[.-](\d{8,14}))"
_SUFFIX = r"(?:\.(?:gz|xz|bz2|zst))?"
_ROTATED = re.compile(rf"(.+?){_ROTATION}{_SUFFIX}", re.ASCII)
_PLAIN = re.compile(rf"(.+?){_SUFFIX}", re.ASCII)
# auditd keeps at most 999 logs (auditd.conf(5)). A larger number is a year, or something else.
_MOST_ROTATIONS = 999
# The log of a host may have the host's address as its name, such as 10.0.0.5. The last number then counts no rotations.
_ADDRESS = re.compile(rf"(?<![\d.])\d{{1,3}}(?:\.\d{{1,3}}){{3}}{_SUFFIX}\Z", re.ASCII)


def rotated(path: str) -> list[str]:
    """Return the paths of the rotated files of a log."""
    directory, name = os.path.split(path)
    pattern = re.compile(rf"{re.escape(name)}{_ROTATION}{_SUFFIX}", re.ASCII)
    with contextlib.suppress(OSError):
        names = sorted(filter(pattern.fullmatch, os.listdir(directory or ".")))
        return [os.path.join(directory, name) for name in names]
    return []


def place_of(path: str) -> tuple[str, int, str]:
    """Return the log to which a file belongs, and its place among the rotations: a number that grows with time,
    or a date.
    """
    # audit.log.1 is newer than audit.log.2, and older than audit.log.
    match = _ROTATED.fullmatch(path)
    if match is None or _ADDRESS.search(path):
        plain = _PLAIN.fullmatch(path)
        return (plain[1] if plain else path), 0, ""
    return match[1], -int(match[2] or 0), match[3] or ""


def oldest_first(files: t.Iterable[LogFile]) -> list[LogFile]:
    """Order the rotations of each log among themselves, and those of several logs by their first records."""
    series: dict[tuple[str, bool], list[tuple[int, str, LogFile]]] = {}
    for log in files:
        base, number, date = place_of(os.path.abspath(log.path))
        series.setdefault((base, bool(date)), []).append((number, date, log))
    ordered = [
        [log for _number, _date, log in sorted(places, key=lambda each: each[:2])]
        for places in series.values()
    ]
    # Somebody may have set the clock back, so the order within one log does not go by times.
    return ordered[0] if len(ordered) == 1 else list(heapq.merge(*ordered, key=_begin))


def _begin(log: LogFile) -> tuple[float, int]:
    """Return when a log begins, for the order of the logs.

    A form without numbers may leave out the part of the second, and then seems to begin a little earlier than another copy.
    """
    time, serial = log.first_event()
    is_whole = not serial and time.is_integer()
    return (time + 1.0 if is_whole else time, serial)


def missing_from(paths: t.Iterable[str], unread: t.Iterable[str]) -> list[str]:
    """Return the names of rotated files that are missing between others of the same log, such as audit.log.2 between .1 and .3.

    A directory may also have files that are no audit logs. So ``unread`` files count only beside those that were read.
    """
    numbers: dict[str, set[int]] = {}
    for path, is_read in (
        *((each, True) for each in paths),
        *((each, False) for each in unread),
    ):
        base, number, date = place_of(os.path.abspath(path))
        if not date and -number <= _MOST_ROTATIONS and (is_read or base in numbers):
            numbers.setdefault(base, set()).add(-number)
    return sorted(
        f"{base}.{number}"
        for base, known in numbers.items()
        for number in range(min(known) + 1, max(known))
        if number not in known
    )
