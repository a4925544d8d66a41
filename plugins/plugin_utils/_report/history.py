# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers who held a NIC, from the answers of all hosts."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ...module_utils._time import parse_time
from .._trail.summary import columns_of, printable
from .answer import Data, OddAnswerError, read_answer
from .answers import answer_name
from .network import network_text
from .tables import HISTORY, csv_writer, row_of
from .timeline import clock
from .whole import written_whole

_COLUMNS = ("MAC", "HOST", "VM", "NETWORK", "SINCE", "UNTIL", "BY", "WHY")


class Found(t.NamedTuple):
    """Who held the NIC, the oldest entry first; the hosts without an answer; the hosts whose logs do not reach back."""

    held: list[Data]
    silent: list[Data]
    short: list[Data]


def find(answers: Path, hosts: t.Sequence[str], since: float | None) -> Found:
    """Read the answers. ``since`` is the beginning of the time that was asked for, in seconds since the epoch."""
    found = Found([], [], [])
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
        short = _short(answer.stats, since)
        if short is not None:
            found.short.append({"host": host, "problem": short})
    found.held.sort(key=lambda each: (each["since"], each["host"]))
    return found


def _short(stats: Data, since: float | None) -> str | None:
    """Return why there may be more than an answer shows, or ``None``."""
    if stats["unread"]:
        return f"not all of its logs could be read: {stats['unread'][0]['path']}"
    first = stats.get("first")
    if not isinstance(first, str):
        return "its logs have no record at all"
    if since is None or parse_time("first", first) > since:
        return f"its logs begin at {clock(first)}"
    return None


def lines(found: Found) -> list[str]:
    """Return a table for people, and below it what the table does not prove."""
    rows: list[t.Sequence[str]] = [_COLUMNS]
    for each in found.held:
        until = clock(each["until"]) if each["until"] else "held"
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
