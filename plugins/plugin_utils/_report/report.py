# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the report on a fleet. It reads each host's answer once, writes it out, and forgets it."""

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
from .fleet import CODES, Fleet, Holder
from .known import mark, parse_known
from .last import Last
from .news import News
from .page import Page, Place, grouped
from .tables import CSV, Tables
from .timeline import anchors_of, rows_of, scale_of
from .uncompared import Uncompared

PAGE = "audit_report.html"
PAGES = "audit_report_hosts"
# These are sizes of all answers together. Above the first size the page begins folded. Above the second size the time
# line of each host has a page of its own. A VM with one NIC takes about 3 kB. docs/benchmarks.md says what Chromium needs.
_FOLDED = 512 * 1024
_SPLIT = 2 * 1024 * 1024
_NO_ANSWER = "no answer came back; the output of its task says why"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to report on. ``answers`` has a file for each host that answered. :func:`answer_name` is its name."""

    hosts: t.Sequence[str]
    answers: Path
    directory: Path
    known: t.Any = ()
    fail_on: t.Sequence[str] = ()
    now: float = dataclasses.field(default_factory=time.time)


@dataclasses.dataclass
class Outcome:
    """What was written, and why the play has to fail."""

    files: list[str]
    silent: list[Data]
    failing: list[Data]
    unverified: str | None
    findings: int
    grants: int


class Report:
    """A report that is being made."""

    def __init__(self, request: Request, work: Path) -> None:
        self._request, self._work = request, work
        # Somebody may name a host twice.
        self._hosts_asked = list(dict.fromkeys(request.hosts))
        self._known = parse_known("known", request.known, CODES)
        self._news = News(Last.read(request.directory))
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
        self._uncompared = Uncompared()
        self._nics = 0

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
            self._news.mark_grant(grant)
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
            self._news.mark_finding(finding)
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
            self._uncompared.add(host, answer.past, answer.until)
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

    def _finish(self, split: bool) -> None:
        doubles = self._fleet.findings()
        for finding in doubles:
            self._news.mark_finding(finding)
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
                "last": self._news.since,
                "unverified": self._unverified(),
                "known": known,
            }
        )
        open_ones = [each for each in self._findings if each["known"] is None]
        counts = collections.Counter(each["severity"] for each in open_ones)
        parts = {
            "created": self._created,
            "last": self._news.since,
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
        return self._uncompared.sentence(len(self._hosts))

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
