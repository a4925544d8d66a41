# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers who held a NIC, from the answers of all hosts."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from ...module_utils._time import iso, parse_time
from .._trail.printable import printable
from .._trail.summary import columns_of
from .answer import Answer, Data, OddAnswerError, read_answer
from .answers import answer_name
from .network import network_text
from .tables import HISTORY, csv_writer, row_of
from .timeline import clock
from .whole import written_whole

_COLUMNS = ("MAC", "HOST", "VM", "NETWORK", "SINCE", "UNTIL", "BY", "WHY")
# So many seconds may pass on a host without a record.
_RECENT = 3600


class Found(t.NamedTuple):
    """Who held the NIC, the oldest entry first; the hosts without an answer; the hosts whose logs do not have all of the time.

    ``until`` is the end of the time, by host, if somebody asked for one that is over.
    """

    held: list[Data]
    silent: list[Data]
    short: list[Data]
    until: dict[str, str]


def find(answers: Path, hosts: t.Sequence[str], since: float | None) -> Found:
    """Read the answers. ``since`` is the beginning of the time that was asked for, in seconds since the epoch.

    If an answer has this beginning too, that one counts: a time without an offset is in the time zone of each host.
    """
    found, now = Found([], [], [], {}), iso(time.time())
    for host in hosts:
        try:
            text = (answers / answer_name(host)).read_text(encoding="utf-8")
            answer = read_answer(text)
        except (OSError, OddAnswerError) as exc:
            problem = (
                str(exc) if isinstance(exc, OddAnswerError) else "no answer came back"
            )
            found.silent.append({"host": host, "problem": problem})
            continue
        found.held.extend({"host": host, **each} for each in answer.history)
        if answer.until is not None and answer.until < now:
            found.until[host] = answer.until
        begin = since if answer.since is None else parse_time("since", answer.since)
        short = _short(answer, begin, found.until.get(host))
        if short is not None:
            found.short.append({"host": host, "problem": short})
    found.held.sort(key=lambda each: (each["since"], each["host"]))
    return found


def _short(answer: Answer, since: float | None, until: str | None) -> str | None:
    """Return why there may be more than an answer shows, or ``None``."""
    stats = answer.stats
    if stats["unread"]:
        return f"not all of its logs could be read: {stats['unread'][0]['path']}"
    first = stats.get("first")
    if not isinstance(first, str):
        return "its logs have no record at all"
    reach = []
    if since is None or parse_time("first", first) > since:
        reach.append(f"begin at {clock(first)}")
    if not answer.own_logs and _ends_before(stats.get("last"), since, until):
        reach.append(f"end at {clock(stats['last'])}")
    return f"its logs {' and '.join(reach)}" if reach else None


def _ends_before(last: str | None, since: float | None, until: str | None) -> bool:
    """Tell whether a copy of logs ends before the time that was asked for. A host writes its own log to this day."""
    if last is None:
        return False
    end = parse_time("last", last)
    if since is not None and end < since:
        return True
    return until is not None and end + _RECENT < parse_time("until", until)


def _still(held: Data, found: Found) -> str:
    until = found.until.get(held["host"])
    return "held" if until is None else f"held at {clock(until)}"


def lines(found: Found) -> list[str]:
    """Return a table for people, and below it what the table does not prove."""
    rows: list[t.Sequence[str]] = [_COLUMNS]
    for each in found.held:
        until = clock(each["until"]) if each["until"] else _still(each, found)
        by = "no login" if each.get("auid") is None else f"auid {each['auid']}"
        row = [each["mac"], each["host"], each["vm"] or each["uuid"]]
        row += [network_text(each) or "?", clock(each["since"]), until, by]
        rows.append([printable(cell) for cell in [*row, each.get("ticket") or ""]])
    widths = [max(map(columns_of, cells)) for cells in zip(*rows)]
    said = [
        "  ".join(
            cell + " " * (width - columns_of(cell)) for cell, width in zip(row, widths)
        ).rstrip()
        for row in rows
    ]
    if not found.held:
        said = ["Nobody held it, as far as the logs reach."]
    notes = [*found.silent, *found.short]
    return said + [printable(f"{each['host']}: {each['problem']}") for each in notes]


def write_csv(path: str, held: t.Iterable[Data]) -> None:
    """Write the entries as CSV. Raises :class:`OSError`."""
    with written_whole(path, 0o640, errors="backslashreplace") as out:
        writer = csv_writer(out)
        writer.writerow(HISTORY)
        writer.writerows(row_of(each, HISTORY) for each in held)
