# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time line of a host: for each VM, bars for its runs and the networks of its NICs, and marks for its findings. Pure."""

from __future__ import annotations

import datetime
import typing as t

from .answer import Answer, Data
from .network import network_text


class Bar(t.NamedTuple):
    """One bar. ``left`` and ``width`` are in percent of the line; ``text`` says all of it."""

    kind: t.Literal["session", "nic", "mark"]
    label: str
    left: str
    width: str
    text: str
    href: str | None = None


class Row(t.NamedTuple):
    """A VM."""

    anchor: str
    vm: str | None
    uuid: str
    bars: list[Bar]
    marks: list[Data]


class Scale:
    """From the first time of a host to the report's. Times are as the modules write them."""

    def __init__(self, begin: str, end: str) -> None:
        self.begin, self.end = min(begin, end), end
        self._begin = _seconds(self.begin)
        self._span = max(1.0, _seconds(end) - self._begin)

    def place(self, start: str, stop: str | None) -> tuple[str, str]:
        """Return where a bar begins and how wide it is, in percent."""
        left = self._percent(start)
        right = 100.0 if stop is None else self._percent(stop)
        return f"{left:.2f}", f"{max(right - left, 0.4):.2f}"

    def _percent(self, time: str) -> float:
        return min(max((_seconds(time) - self._begin) * 100 / self._span, 0.0), 100.0)


def _seconds(time: str) -> float:
    moment = datetime.datetime.fromisoformat(time[:-1])
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def clock(time: str) -> str:
    """Return a time for people, in UTC."""
    return f"{time[:10]} {time[11:19]}"


def scale_of(answer: Answer, created: str) -> Scale:
    """Return the scale of a host."""
    times = [session["start"] for session in answer.sessions]
    times += [grant["since"] for grant in answer.grants]
    end = min(created, answer.until or created)
    return Scale(min(times, default=end), end)


def rows_of(
    answer: Answer, anchors: t.Mapping[str, str], scale: Scale, findings_at: str
) -> list[Row]:
    """Return the VMs of a host, those that hold something first. ``findings_at`` is the page of the findings."""
    held = _by_uuid(answer.grants)
    sessions = _by_uuid(answer.sessions)
    history = _by_uuid(answer.history)
    marks = _by_uuid(answer.findings)
    # A report on the past does not know what came after that time.
    past = answer.until is not None and answer.until == scale.end
    still = f"and still then, at {clock(scale.end)}" if past else "until now"
    rows = []
    for uuid, anchor in anchors.items():
        mine, grants = sessions.get(uuid, []), held.get(uuid, [])
        found = marks.get(uuid, [])
        nics = _networks(history.get(uuid, []), scale, still)
        # An older version of the module has no history.
        told = nics or [*_resources(mine, scale), *_grants(mine, grants, scale)]
        runs = _runs(mine, scale)
        bars = [*runs, *told, *_marks(found, scale, findings_at)]
        rows.append(Row(anchor, [*grants, *mine][-1]["vm"], uuid, bars, found))
    return rows


def _by_uuid(items: list[Data]) -> dict[str, list[Data]]:
    by: dict[str, list[Data]] = {}
    for item in items:
        if item["uuid"] is not None:
            by.setdefault(item["uuid"], []).append(item)
    return by


def anchors_of(answer: Answer, prefix: str) -> dict[str, str]:
    """Return the anchor of each VM of a host that was granted something or ran."""
    uuids = dict.fromkeys(item["uuid"] for item in [*answer.grants, *answer.sessions])
    return {uuid: f"{prefix}v{number}" for number, uuid in enumerate(uuids)}


def _runs(sessions: list[Data], scale: Scale) -> t.Iterator[Bar]:
    for session in sessions:
        start, stop = session["start"], session["stop"]
        end = clock(stop) if stop else session["end"]
        why = f", {session['reason']}" if session["reason"] else ""
        yield Bar(
            "session",
            f"VM, {session['end']}",
            *scale.place(start, _end(session, stop)),
            f"{clock(start)} to {end}{why}",
        )


def _networks(history: list[Data], scale: Scale, still: str) -> list[Bar]:
    """Return a bar for each network that a NIC was on. ``still`` is for those that it is on at the end."""
    bars = []
    for held in sorted(history, key=lambda each: (each["mac"], each["since"])):
        network, ticket = network_text(held), held.get("ticket")
        where = f" on {network}" if network else ""
        until = f"to {clock(held['until'])}" if held["until"] else still
        why = f", ticket {ticket}" if ticket else ""
        text = f"{held['mac']}{where}: {clock(held['since'])} {until}{why}"
        place = scale.place(held["since"], held["until"])
        bars.append(Bar("nic", held["mac"], *place, text))
    return bars


def _resources(sessions: list[Data], scale: Scale) -> t.Iterator[Bar]:
    for session in sessions:
        for nic in session["resources"]:
            if not nic["success"]:
                continue
            over = f" to {clock(nic['end'])}" if nic["end"] else ""
            yield Bar(
                "nic",
                nic["resource"] or "?",
                *scale.place(nic["start"], _end(session, nic["end"])),
                f"{nic['resource']}: {nic['reason']} {clock(nic['start'])}{over}",
            )


def _grants(sessions: list[Data], grants: list[Data], scale: Scale) -> t.Iterator[Bar]:
    """Return the bars of NICs that no run tells of."""
    told = {nic["event"] for session in sessions for nic in session["resources"]}
    for grant in grants:
        if grant["event"] not in told:
            yield Bar(
                "nic",
                grant["mac"],
                *scale.place(grant["since"], None),
                f"{grant['mac']}: since {clock(grant['since'])}",
            )


def _end(session: Data, end: str | None) -> str | None:
    """Return where a bar ends. If the end of a run is not known, its bar ends at its beginning."""
    if end is not None or session["end"] == "running":
        return end
    return t.cast("str", session["start"])


def _marks(findings: list[Data], scale: Scale, page: str) -> t.Iterator[Bar]:
    for finding in findings:
        place = scale.place(finding["time"], finding["time"])
        href = f"{page}#{finding['id']}"
        yield Bar("mark", finding["code"], *place, finding["message"], href)
