# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the report on a fleet: each host's answer is read once, written out, and forgotten."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import time
import typing as t
from pathlib import Path

from ...module_utils._time import iso
from .answer import SEVERITIES, Answer, Data, OddAnswerError, read_answer
from .answers import answer_name
from .fleet import CODES, Fleet, Holder, identity
from .known import mark, parse_known
from .last import Last
from .page import Page, Place, grouped
from .tables import CSV, Tables
from .timeline import anchors_of, rows_of, scale_of

PAGE = "audit_report.html"
PAGES = "audit_report_hosts"
# By the size of all answers: above the first the page is folded at first, above the second each host's time line has a
# page of its own. A VM with one NIC takes about 3 kB. docs/benchmarks.md has what Chromium needs.
_FOLDED = 512 * 1024
_SPLIT = 2 * 1024 * 1024
_NAMED = 10
_NO_ANSWER = "no answer came back; the output of its task says why"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to report on. ``answers`` has a file for each host that answered, as :func:`answer_name` names it."""

    hosts: t.Sequence[str]
    answers: Path
    directory: Path
    known: t.Any = ()
    fail_on: t.Sequence[str] = ()
    now: float = dataclasses.field(default_factory=time.time)


@dataclasses.dataclass
class Outcome:
    """What was written, and what the play has to fail for."""

    files: list[str]
    silent: list[Data]
    failing: list[Data]
    unverified: str | None
    findings: int
    grants: int


class Report:
    """A report while it is made."""

    def __init__(self, request: Request, work: Path) -> None:
        self._request, self._work = request, work
        # Somebody may name a host twice.
        self._hosts_asked = list(dict.fromkeys(request.hosts))
        self._known = parse_known("known", request.known, CODES)
        self._last = Last.read(request.directory)
        self._created = iso(request.now)
        now = datetime.datetime.fromtimestamp(request.now, datetime.timezone.utc)
        self._today = now.date()
        self._size = sum(_size(each) for each in self._paths())
        self._tables = Tables(work)
        self._page = Page()
        self._fleet = Fleet()
        self._places: dict[str, Place] = {}
        self._anchors: dict[tuple[str, str], str] = {}
        self._findings: list[Data] = []
        self._hosts: list[Data] = []
        self._silent: list[Data] = []
        self._uuids: set[str] = set()
        self._uncompared: list[str] = []
        self._past = False
        self._nics = 0
        self._ids: dict[str, int] = collections.defaultdict(int)

    def _paths(self) -> list[Path]:
        return [
            self._request.answers / each for each in map(answer_name, self._hosts_asked)
        ]

    def make(self) -> Outcome:
        """Read all answers and write all files. Raises :class:`OSError`."""
        split = self._size > _SPLIT
        (self._work / PAGES).mkdir()
        grants = _create(self._work / "grants.html")
        timelines = _create(self._work / "timelines.html")
        try:
            with grants, timelines:
                for number, host in enumerate(self._hosts_asked):
                    page = f"{PAGES}/{number}.html" if split else ""
                    self._take(Place(host, f"h{number}", page), grants, timelines)
            self._finish(split)
        finally:
            self._tables.close()
        if not split:
            (self._work / PAGES).rmdir()
        for name in ("grants.html", "timelines.html"):
            (self._work / name).unlink()
        failing = [
            each
            for each in self._findings
            if each["code"] in self._request.fail_on and each["known"] is None
        ]
        return Outcome(
            files=sorted(["audit_report.json", PAGE, *CSV]),
            silent=self._silent,
            failing=failing,
            unverified=self._unverified(),
            findings=len(self._findings),
            grants=self._nics,
        )

    def _take(self, place: Place, grants: t.TextIO, timelines: t.TextIO) -> None:
        try:
            answer = self._read(place.host)
        except OddAnswerError as exc:
            silent = {"host": place.host, "problem": str(exc)}
            self._silent.append(silent)
            self._tables.add("silent", silent)
            return
        self._places[place.host] = place
        anchors = anchors_of(answer, place.anchor)
        self._note(place, answer, anchors)
        fold = self._size > _FOLDED
        if answer.grants:
            grants.write(self._page.grants(place, answer.grants, anchors, fold))
        scale = scale_of(answer, self._created)
        to_index = f"../{PAGE}" if place.page else ""
        rows = rows_of(answer, anchors, scale, to_index)
        timeline = self._page.timeline(place, rows, scale, fold and not place.page)
        if not place.page:
            if rows:
                timelines.write(timeline)
            return
        with _create(self._work / place.page) as out:
            out.write(self._page.host(place.host, self._created, timeline))

    def _read(self, host: str) -> Answer:
        path = self._request.answers / answer_name(host)
        try:
            return read_answer(path.read_text(encoding="utf-8"))
        except FileNotFoundError as exc:
            raise OddAnswerError(_NO_ANSWER) from exc
        except (OSError, UnicodeDecodeError) as exc:
            raise OddAnswerError(f"its answer cannot be read: {exc}") from exc

    def _note(self, place: Place, answer: Answer, anchors: t.Mapping[str, str]) -> None:
        host, mine = place.host, {"host": place.host}
        for grant in answer.grants:
            grant["new"] = self._last.created is not None and (
                grant["since"] > self._last.created
            )
            self._tables.add("grants", {**grant, **mine})
            holder = _holder(host, grant, grant["since"])
            self._fleet.add(grant["mac"], holder)
        for session in answer.sessions:
            self._tables.add("sessions", {**session, **mine})
            if session["end"] == "running":
                self._fleet.add_vm(_holder(host, session, session["start"]))
        for held in answer.history:
            self._tables.add("history", {**held, **mine})
        for finding in answer.findings:
            finding.update(mine)
            self._name(finding)
        for uuid, anchor in anchors.items():
            self._anchors[host, uuid] = anchor
        mark(answer.findings, self._known, self._today)
        self._findings += answer.findings
        self._nics += len(answer.grants)
        uuids = {grant["uuid"] for grant in answer.grants}
        self._uuids |= uuids
        severities = collections.Counter(
            each["severity"] for each in answer.findings if each["known"] is None
        )
        if not answer.verified:
            self._uncompared.append(host)
            self._past = self._past or answer.past
        verified = {"verified": answer.verified}
        self._tables.add("hosts", {**mine, **verified, "stats": answer.stats})
        self._hosts.append(
            {
                **mine,
                "stats": answer.stats,
                "anchor": place.anchor,
                "page": place.page,
                "vms": len(uuids),
                "nics": len(answer.grants),
                "counts": {each: severities[each] for each in SEVERITIES},
            }
        )

    def _name(self, finding: Data) -> None:
        """Give a finding its id, and tell whether it is new: one that is there once more is."""
        known = identity(finding)
        self._ids[known] += 1
        number = self._ids[known]
        finding["id"] = known if number == 1 else f"{known}-{number}"
        finding["new"] = self._last.created is not None and (
            finding["id"] not in self._last.findings
        )

    def _finish(self, split: bool) -> None:
        doubles = self._fleet.findings()
        for finding in doubles:
            self._name(finding)
        mark(doubles, self._known, self._today)
        self._findings += doubles
        self._findings.sort(
            key=lambda each: (SEVERITIES.index(each["severity"]), each["time"])
        )
        for finding in self._findings:
            self._tables.add("findings", finding)
        known = [entry.result(self._today) for entry in self._known]
        self._tables.finish(
            {
                "created": self._created,
                "last": self._last.created,
                "unverified": self._unverified(),
                "known": known,
            }
        )
        open_ones = [each for each in self._findings if each["known"] is None]
        counts = collections.Counter(each["severity"] for each in open_ones)
        parts = {
            "created": self._created,
            "last": self._last.created,
            "unverified": self._unverified(),
            "hosts": self._hosts,
            "silent": self._silent,
            "vms": len(self._uuids),
            "nics": self._nics,
            "counts": {each: counts[each] for each in SEVERITIES},
            "fresh": sum(each["new"] for each in open_ones),
            "groups": grouped(open_ones),
            "known": [each for each in self._findings if each["known"] is not None],
            "why": [_why(entry) for entry in known],
            "expired": [entry for entry in known if entry["expired"]],
            "fold": self._size > _FOLDED,
            "links": dict(self._links()),
            "grants": _pieces(self._work / "grants.html"),
            "timelines": None if split else _pieces(self._work / "timelines.html"),
        }
        with _create(self._work / PAGE) as out:
            out.writelines(self._page.index(parts))

    def _unverified(self) -> str | None:
        """Say which hosts were not compared with what they hold now."""
        if not self._uncompared:
            return None
        why = ", as a time was asked for" if self._past else ""
        which = ""
        if len(self._uncompared) < len(self._hosts):
            more = len(self._uncompared) - _NAMED
            named = ", ".join(self._uncompared[:_NAMED])
            which = f" of {named}" + (f" and {more} more" if more > 0 else "")
        return f"Nothing was compared with what the hosts hold now{which}{why}."

    def _links(self) -> t.Iterator[tuple[str, str]]:
        for finding in self._findings:
            anchor = self._anchors.get((finding["host"], finding["uuid"]))
            if anchor is not None:
                yield finding["id"], f"{self._places[finding['host']].page}#{anchor}"


def _holder(host: str, item: Data, since: str) -> Holder:
    event = item.get("event") or next(iter(item.get("events") or [""]))
    return Holder(host, item["vm"], item["uuid"], since, event)


def _why(entry: Data) -> str:
    until = f"until {entry['until']}" if entry["until"] else None
    return ", ".join(each for each in (entry["why"], until) if each) or "allowed"


def _pieces(path: Path) -> t.Iterator[str]:
    with path.open(encoding="utf-8") as handle:
        while piece := handle.read(1 << 20):
            yield piece


def _create(path: Path) -> t.TextIO:
    return path.open("w", encoding="utf-8", errors="backslashreplace")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
