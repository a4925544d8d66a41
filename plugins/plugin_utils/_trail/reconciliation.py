# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answer of trail_reconcile: files, hosts, and what does not agree."""

from __future__ import annotations

import datetime
import json
import typing as t

from ...module_utils._errors import OptionError
from ...module_utils._time import parse_time
from .chain import (
    Checked,
    check_files,
    trail_files,
)
from .holdings import Holdings
from .ledger import Events
from .line import (
    NAME,
)
from .printable import printable
from .reconcile import Data, HostLog, compare, missing_files, not_on_host
from .records import read_records
from .summary import columns_of
from .verify import verify

_COLUMNS = ("HOST", "WHAT", "COUNT", "SINCE", "UNTIL", "WHO", "VMS", "RUN")


class NoAnswerError(Exception):
    """The answer of a host cannot be used. The text says why."""


def reconcile(
    directory: str,
    hosts: t.Sequence[str],
    answer_of: t.Callable[[str], str | None],
    begin: str | None = None,
) -> Data:
    """Compare all files of a directory with the hosts' logs.

    ``answer_of`` returns a host's answer as JSON, or ``None``. ``begin`` is as in the check of trails. Raises
    :class:`OSError`.
    """
    files = check_files(trail_files(directory))
    verdicts = verify(directory, begin)
    holdings = Holdings(files)
    start = _began(files)
    result: Data = {
        "directory": directory,
        "files": [
            {"status": verdict.status, "text": verdict.text} for verdict in verdicts
        ],
        "missing_files": missing_files(
            (anchor for each in files for anchor in each.anchors),
            {each.name for each in files},
            begin,
        ),
        "hosts": [],
        "silent": [],
        "unasked": sorted(set(holdings.hosts) - set(hosts)),
        "not_in_files": [],
        "not_on_host": [],
    }
    missing = {}
    for host in hosts:
        try:
            log = _log(host, answer_of(host))
        except (NoAnswerError, ValueError, RecursionError) as exc:
            result["silent"].append({"host": host, "problem": str(exc)})
            continue
        written = holdings.hosts.get(host, Events())
        compared = compare(log, written, holdings.runs, start)
        result["hosts"].append({"host": host, **compared.counts})
        result["not_in_files"] += compared.not_in_files
        if compared.missing:
            missing[host] = compared.missing
    for host, found in holdings.details(missing).items():
        result["not_on_host"] += not_on_host(host, found)
    wrong = ("silent", "missing_files", "not_in_files", "not_on_host")
    result["sound"] = not any(result[each] for each in wrong) and not any(
        verdict.status == 1 for verdict in verdicts
    )
    return result


def _began(files: t.Sequence[Checked]) -> int:
    """Return when the oldest run began, in milliseconds. No file has a record from before.

    If somebody set the clock of the controller back, later runs began before the time in the name of the oldest file.
    """
    named = next((time for each in files if (time := _time_in_name(each.name))), 0)
    return min([named, *(time for each in files if (time := _time_of_start(each)))])


def _time_in_name(name: str) -> int:
    match = NAME.fullmatch(name)
    if match is None:
        return 0
    try:
        moment = datetime.datetime.strptime(match[1], "%Y%m%dT%H%M%S.%fZ")
    except ValueError:
        return 0  # Another program has given this name.
    return int(moment.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000)


def _time_of_start(file: Checked) -> int:
    try:
        return _milliseconds(file.began)
    except NoAnswerError:
        return 0  # Anybody can write a first line of another form with a right hash.


def _log(host: str, text: str | None) -> HostLog:
    """Read a host's answer. Raises :class:`NoAnswerError` and :class:`ValueError` if it cannot be used."""
    if text is None:
        raise NoAnswerError("no answer came back; the output of its task says why")
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("failed"):
        raise NoAnswerError(str(data.get("msg")) if isinstance(data, dict) else "odd")
    found = read_records(data)
    stats, asked = data.get("stats"), data.get("asked")
    if found is None or not isinstance(stats, dict) or not isinstance(asked, dict):
        raise NoAnswerError("its answer is not what vm_net_audit_info returns")
    records, malformed = found
    if malformed:
        raise NoAnswerError(
            f"{malformed} records in its answer have not the shape of one"
        )
    if unread := stats.get("unread"):
        example = unread[0] if isinstance(unread, list) else unread
        raise NoAnswerError(f"not all of its logs could be read: {example}")
    first = [_milliseconds(each) for each in (stats.get("first"), asked.get("since"))]
    last = _milliseconds(asked.get("until") or asked.get("as_of"))
    # The times are cut to a millisecond.
    return HostLog(host, records, max(first) + 1, last - 1)


def _milliseconds(text: t.Any) -> int:
    if text is None:
        return 0
    try:
        return round(parse_time("time", str(text)) * 1000)
    except OptionError as exc:
        raise NoAnswerError(f"its answer has an odd time: {exc}") from exc


def table(result: Data) -> list[str]:
    """Return what does not agree, as lines for people."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for group in result["not_in_files"]:
        who = "no login" if group["auid"] is None else f"auid {group['auid']}"
        from_where = f" from {group['addr']}" if group["addr"] else ""
        rows.append(_row(group, "in no file", f"{who}{from_where}"))
    rows += [
        _row(group, "not on the host", group["user"] or "?")
        for group in result["not_on_host"]
    ]
    widths = [max(map(columns_of, cells)) for cells in zip(*rows)]
    lines = [
        "  ".join(
            cell + " " * (width - columns_of(cell)) for cell, width in zip(row, widths)
        ).rstrip()
        for row in rows
    ]
    lines = lines if len(rows) > 1 else []
    lines += _file_problems(result)
    lines += [each["text"] for each in result["files"] if each["status"]]
    lines += [
        f"{each['host']}: no answer: {each['problem']}" for each in result["silent"]
    ]
    if result["unasked"]:
        lines.append(f"not asked, and in the files: {', '.join(result['unasked'])}")
    for host in result["hosts"]:
        counted = ", ".join(
            f"{host[name]} {name.replace('_', ' ')}"
            for name in host
            if name != "host" and (host[name] or name in ("records", "matched"))
        )
        lines.append(f"{host['host']}: {counted}")
    return [printable(line) for line in lines]


def _file_problems(result: Data) -> list[str]:
    return [
        f"{name}: this file is missing, and another run continues it"
        for name in result["missing_files"]
    ]


def shortened(lines: list[str], most: int, dest: str | None) -> list[str]:
    """Return the first lines. If some are left out, the last line says so, and where they are."""
    if len(lines) <= most:
        return lines
    kept = lines[: most - 1]
    where = f"; {dest} has the whole answer" if dest else ""
    return [*kept, printable(f"... and {len(lines) - len(kept)} more lines{where}")]


def _row(group: Data, what: str, who: str) -> tuple[str, ...]:
    return (
        group["host"],
        what,
        str(group["count"]),
        group["since"],
        group["until"],
        who,
        " ".join(group["vms"]),
        group["run"] or "?",
    )
