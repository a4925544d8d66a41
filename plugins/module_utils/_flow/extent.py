# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells what an answer from the logs rests on: the time that they cover, and what could not be read."""

from __future__ import annotations

import dataclasses
import typing as t

from .._analysis.findings import Finding, Findings
from .._log.files import BROKEN, LogFile
from .._log.items import Item
from .._log.lines import last_mark
from .._log.names import alike_names
from .._log.nodes import OwnNodes
from .._log.recall import Logs, Recalled
from .._log.rotations import missing_from
from .._log.unread import Problem, Unread, first_of
from .._log.wanted import Wanted
from .._time import iso

if t.TYPE_CHECKING:
    from .._log.copies import Copies

# A question about the time until now always goes a little beyond the end of a log.
_RECENT_SECONDS = 3600.0


class Read(t.Protocol):
    """The counts from reading the logs."""

    records: int
    controls: int
    met: bool
    nodes: set[str | None]
    copies: Copies | None
    back: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class Extent:
    """The times of the first and the last record, in seconds since the epoch, or ``None`` if there is none."""

    first: float | None
    last: float | None

    @classmethod
    def of(cls, files: t.Sequence[LogFile], first: float, last: float) -> Extent:
        """Look at the beginnings and ends of logs.

        ``first`` and ``last`` are the times of the records that were read.
        """
        begins = [first, *(log.first_event()[0] for log in files)]
        ends = [last]
        for log in files:
            mark = last_mark(log)
            ends.append(mark.time if mark is not None else 0.0)
        return cls(
            min(filter(None, begins), default=None),
            max(filter(None, ends), default=None),
        )

    def result(self) -> dict[str, str | None]:
        """Return the module's values."""
        return {
            "first": None if self.first is None else iso(self.first),
            "last": None if self.last is None else iso(self.last),
        }

    def words(self) -> str:
        """Return it in words."""
        if self.first is None or self.last is None:
            return "the logs have no record at all"
        return f"the logs go from {iso(self.first)} to {iso(self.last)}"


def warnings_of(
    logs: Logs,
    extent: Extent,
    wanted: Wanted,
    found: Recalled,
    read: Read,
    doubts: t.Sequence[Item],
) -> list[str]:
    """Return a sentence for the operator about each part that the answer lacks."""
    given = logs.host is None
    return [
        *(_missing(each) for each in logs.unread),
        *_gaps(logs),
        *_beyond(extent, wanted, given),
        *_unknown(extent, wanted, found, read),
        *(_guessed(log) for log in logs.files if log.clock.guesses),
        *(_cut(log) for log in logs.files if given and _ends_within(log)),
        *(f"{log.path} is empty" for log in logs.files if given and not log.size),
        *_counted(read, given and wanted.any_vm()),
        *_doubted(doubts if given else ()),
        *_backwards(read.back),
        *_two_names(logs, read.nodes if given else set()),
    ]


def unread_findings(findings: Findings, unread: Unread, now: float) -> None:
    """Add a finding for the lines of VMs that could not be read, one for each log and reason."""
    for each in unread:
        if each.lines:
            findings.add(
                Finding(
                    code="unread_records",
                    severity="medium",
                    message=_missing(each),
                    time=now,
                    path=each.path,
                    dev=None,
                    fd=each.line,
                )
            )


def _missing(each: Problem) -> str:
    missing = (
        " is missing from the answer. A VM may hold more than grants shows, and findings may be missing, or exist "
        "only because a record is missing"
    )
    if not each.lines:
        return (
            f"{each.path} could not be read: {each.problem}. What it records{missing}"
        )
    lines = "1 line" if each.lines == 1 else f"{each.lines} lines"
    where = "" if each.line is None else f", the first is line {each.line}"
    return f"{each.path}: {lines} with records of VMs could not be read{where}: {each.problem}. What they record{missing}"


def _gaps(logs: Logs) -> t.Iterator[str]:
    unread = (each.path for each in logs.unread)
    missing = missing_from((log.path for log in logs.files), unread)
    if missing:
        yield (
            f"logs: {len(missing)} of the rotated files are missing between the others: {first_of(missing)}. What they record is "
            "missing from the answer. Give them too, and find out who removed them if they are gone"
        )


def _beyond(extent: Extent, wanted: Wanted, given: bool) -> t.Iterator[str]:
    """Return a sentence for each part of the time that the task asks for and the logs do not cover."""
    first, last = extent.first, extent.last
    if first is None or last is None:
        yield "the logs have no record, so they cannot tell who held what"
        return
    if wanted.since is not None and wanted.since < first:
        yield f"since: the logs begin at {iso(first)} and do not tell what happened before that"
    if wanted.until is not None and wanted.until < first:
        yield f"until: the logs begin at {iso(first)}, which is later, so the answer is empty"
    if given and wanted.since is not None and wanted.since > last:
        yield f"since: the logs end at {iso(last)}, which is earlier, so they do not tell what happened after it"
    if given and wanted.until is not None and wanted.until > last + _RECENT_SECONDS:
        yield f"until: the logs end at {iso(last)} and do not tell what happened after that"


def _unknown(
    extent: Extent, wanted: Wanted, found: Recalled, read: Read
) -> t.Iterator[str]:
    """Return a sentence if the logs have no record of what the task asks for."""
    if wanted.any_vm() or read.met or extent.first is None:
        return
    asked = ", ".join(
        f"{name} {value}"
        for name, value in (
            ("name", wanted.name),
            ("uuid", wanted.uuid),
            ("mac", wanted.mac),
        )
        if value is not None
    )
    where = " since the host booted" if found.since_boot else ""
    yield (
        f"no record{where} has {asked}; {extent.words()}. Look for a typo, or give since and logs that reach further "
        "back. An empty answer does not prove that nobody held anything"
    )


def _guessed(log: LogFile) -> str:
    return f"{log.path}: some of its lines have {'; '.join(sorted(log.clock.guesses))}"


def _ends_within(log: LogFile) -> bool:
    try:
        last = log.tail().rpartition(b"\n")[2].rstrip(b"\r \t\0")
    except BROKEN:
        return False
    return last.startswith((b"type=", b"node=")) and not last.endswith((b"'", b'"'))


def _cut(log: LogFile) -> str:
    return f"{log.path} ends in the middle of a record, and does not tell what happened after that"


def _counted(read: Read, all_vms: bool) -> t.Iterator[str]:
    copies = read.copies
    if copies is not None and copies.copies:
        yield f"logs: {copies.copies} records are in several of them, and count once"
    if copies is not None and copies.numbered and copies.unnumbered:
        yield (
            "logs: some have the kernel's number of each record and some do not. If they are of the same time, a "
            "record that is in both may count twice"
        )
    if all_vms and read.records and not read.controls:
        yield (
            "the logs have no VIRT_CONTROL and no VIRT_MACHINE_ID record, so they do not tell when VMs started or "
            "ended. Give the whole log, or ausearch -m VIRT_CONTROL,VIRT_RESOURCE,VIRT_MACHINE_ID --raw"
        )


def _doubted(doubts: t.Sequence[Item]) -> t.Iterator[str]:
    if doubts:
        first = doubts[0]
        yield (
            f"logs: the numbers of the records start again at {first.event} ({iso(first.time)}), and nothing says that "
            f"the host booted ({len(doubts)} times in all). The module treats that as a boot, which ends everything "
            "that VMs held. If the log is of several hosts, or its parts are not in order, the answer is wrong. Then "
            "give the log of one host, or a log with node= in each line"
        )


def _backwards(back: tuple[float, float] | None) -> t.Iterator[str]:
    if back is not None:
        newer, older = map(iso, back)
        yield (
            f"logs: the times of records without a number go back from {newer} to {older}. The module keeps the order of the log. If "
            "its parts are not in order, the answer is wrong. Then give each part as a file of its own, or give the host's audit.log"
        )


def _two_names(logs: Logs, nodes: set[str | None]) -> t.Iterator[str]:
    """Return a sentence if the logs may have one host under two names."""
    header = logs.names.header()
    named = {node for node in nodes if node is not None}
    names = sorted(named if header is None else named | {header})
    alike = alike_names(names)
    others = [name for name in names if name not in OwnNodes()]
    if None in nodes and others and header is None:
        alike.append(f"{', '.join(others)}, and none at all")
    if alike:
        yield (
            f"logs: records of VMs name their hosts as {'; '.join(alike)}. The module treats each name as a host of "
            "its own. If two of them are the same host, the answer is wrong, because the module does not find a "
            "device under one name that was opened under the other. Give the logs of one host the same node="
        )
