# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the files of all runs with the hosts' logs. It opens no file and no socket."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ...module_utils._time import iso
from .ledger import Event, Events, format_event, parse_event
from .records import Record

Data = dict[str, t.Any]
Writer = tuple[t.Any, ...]

# The modules of this collection run in Python, and libvirt's daemons do not.
_OURS = re.compile(r"(?:^|/)(?:python[0-9.]*|platform-python[0-9.]*)$", re.ASCII)
# If a VM ends without a task, its companion unit on the host writes these records, and no file has them. The first one
# is the stop, with one of these reasons.
_ENDS = ("detach", "close")
_BY_ITSELF = ("crashed", "shutdown")
_NAMED = 20


@dataclasses.dataclass
class HostLog:
    """What a host's logs have. They have all records between the milliseconds ``first`` and ``last``."""

    name: str
    records: list[Record]
    first: int
    last: int


@dataclasses.dataclass
class Compared:
    """The result for one host. The groups are for people and for JSON."""

    host: str
    counts: dict[str, int]
    not_in_files: list[Data] = dataclasses.field(default_factory=list)
    missing: set[Event] = dataclasses.field(default_factory=set)


def compare(
    log: HostLog, written: Events, runs: t.AbstractSet[str], begin: int
) -> Compared:
    """Compare a host's log with the events of the files. The oldest run of the files began at the millisecond ``begin``."""
    counts = dict.fromkeys(
        (
            "records",
            "matched",
            "not_in_files",
            "not_on_host",
            "ends",
            "others",
            "before",
            "unchecked",
        ),
        0,
    )
    ends = {_writer(record) for record in log.records if _is_stop(record)}
    seen: set[Event] = set()
    unknown: list[tuple[Event, Record]] = []
    for record in log.records:
        event = None if record.event is None else parse_event(record.event)
        if event is None or event in seen or not record.type.startswith("VIRT_"):
            continue
        seen.add(event)
        counts["records"] += 1
        kind = _kind(record, event, written, begin, ends)
        counts[kind] += 1
        if kind == "not_in_files":
            unknown.append((event, record))
    missing = set()
    for event in written:
        if event in seen:
            continue
        if log.first <= event[0] <= log.last:
            missing.add(event)
        else:
            counts["unchecked"] += 1
    counts["not_on_host"] = len(missing)
    return Compared(log.name, counts, _groups(log.name, unknown, runs), missing)


def _kind(
    record: Record,
    event: Event,
    written: Events,
    begin: int,
    ends: t.AbstractSet[Writer],
) -> str:
    if event in written:
        return "matched"
    if _OURS.search(record.fields.get("exe") or "") is None:
        return "others"
    if event[0] < begin:
        return "before"
    is_end = _is_stop(record) or record.fields.get("reason") in _ENDS
    return "ends" if is_end and _writer(record) in ends else "not_in_files"


def _is_stop(record: Record) -> bool:
    """Tell whether a record is the stop of a VM that ended without a task. It then names no login and no run."""
    fields = record.fields
    return (
        record.type == "VIRT_CONTROL"
        and fields.get("op") == "stop"
        and fields.get("reason") in _BY_ITSELF
        and record.auid is None
        and not fields.get("run")
    )


def _writer(record: Record) -> Writer:
    """Return who wrote a record, and about which VM: the process, its login and its run."""
    fields = record.fields
    return record.pid, record.auid, fields.get("run"), fields.get("uuid")


def _groups(
    host: str, unknown: list[tuple[Event, Record]], runs: t.AbstractSet[str]
) -> list[Data]:
    """Put the records of one run together. Without a run, put those of one task together, which is one process on the host."""
    by: dict[tuple[t.Any, ...], list[tuple[Event, Record]]] = {}
    for event, record in unknown:
        run = record.fields.get("run")
        key = (run,) if run else (None, record.auid, record.ses, record.pid)
        by.setdefault(key, []).append((event, record))
    return [_group(host, items, runs) for items in by.values()]


def _group(
    host: str, items: list[tuple[Event, Record]], runs: t.AbstractSet[str]
) -> Data:
    items.sort(key=lambda item: item[0])
    record = items[0][1]
    run = record.fields.get("run")
    if run is None:
        why = "no run is named: a run without the callback, an ad-hoc task, or a file that was removed"
    elif run in runs:
        why = f"the file of run {run} does not have them"
    else:
        why = f"the file of run {run} is not there"
    return {
        "host": host,
        "run": run,
        "why": why,
        "auid": record.auid,
        "ses": record.ses,
        "addr": record.fields.get("addr"),
        **_extent([event for event, _record in items]),
        "vms": _some(record.fields.get("vm") for _event, record in items),
        "macs": _some(record.mac for _event, record in items),
        "actions": _some(
            record.fields.get("reason") or record.fields.get("op")
            for _event, record in items
        ),
    }


def _extent(events: list[Event]) -> Data:
    return {
        "count": len(events),
        "since": iso(events[0][0] / 1000),
        "until": iso(events[-1][0] / 1000),
        "events": [format_event(event) for event in events[:_NAMED]],
    }


def _some(texts: t.Iterable[str | None]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text][:_NAMED]


def not_on_host(host: str, written: t.Sequence[t.Any]) -> list[Data]:
    """Return the records that the files have and the host does not have, in a group for each run."""
    by: dict[str, list[t.Any]] = {}
    for each in written:
        by.setdefault(each.run, []).append(each)
    groups = []
    for run, items in by.items():
        items.sort(key=lambda each: each.event)
        first = items[0]
        groups.append(
            {
                "host": host,
                "run": run,
                "file": first.file,
                "user": first.user,
                **_extent([each.event for each in items]),
                "vms": _some(each.vm for each in items),
                "macs": _some(each.mac for each in items),
            }
        )
    return groups


def missing_files(
    anchors: t.Iterable[t.Mapping[str, t.Any]],
    names: t.Collection[str],
    begin: str | None = None,
) -> list[str]:
    """Return the files that are missing although other files continue them.

    ``begin`` is the name of the oldest file that must be there, or the beginning of that name.
    """
    found = {os.path.basename(str(anchor["file"])) for anchor in anchors}
    return sorted(name for name in found - {*names} if begin is None or name >= begin)
