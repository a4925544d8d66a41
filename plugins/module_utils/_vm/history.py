# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on record already of the task that a crash cut off: nothing is recorded twice, nothing is left out.

A task can die between a record and the note of it. Then the log knows what the note does not.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._device import Device
from .note import NicNote, Note

if t.TYPE_CHECKING:
    from .._log.parse import Logged

# The kernel's records and the note have the same clock, in ticks of a different length.
_SLACK_SECONDS = 0.1


@dataclasses.dataclass
class NicPast:
    """What is on record of one interface.

    ``outstanding`` devices were opened and not closed; their ``fd`` is ``None`` when only the log knows
    of them. ``granted``: a hand-over is on record and its end is not. ``settled``: a failed hand-over, or the
    detach, is on record.
    """

    outstanding: list[Device]
    granted: bool
    settled: bool = False


def of_note(note: NicNote) -> NicPast:
    """Return what the note says: all its devices are open, and handed over when it is held."""
    return NicPast([*note.devices], granted=note.phase == "held")


class Past:
    """The records of one VM since a task began that did not end. Without a log, what the note says."""

    def __init__(self, note: Note) -> None:
        self.records: list[Logged] = []
        if note.busy is not None:
            # Seldom needed, and what reads logs takes a while to import.
            from .._log.recent import records_of

            self.records = records_of(note.uuid, note.busy - _SLACK_SECONDS)

    def control(self) -> tuple[str | None, str | None]:
        """Return ``op`` and ``res`` of the last VIRT_CONTROL, if there is one."""
        for logged in reversed(self.records):
            if logged.record.type == "VIRT_CONTROL":
                return logged.record.fields.get("op"), logged.record.fields.get("res")
        return None, None

    def granted_fds(self, mac: str) -> list[int]:
        """Return the fd numbers of the last hand-over of an interface that is on record, in the order of its opens."""
        for logged in reversed(self.records):
            fields = logged.record.fields
            if fields.get("new-net") == mac and fields.get("fds"):
                return [int(fd) for fd in str(fields["fds"]).split(",")]
        return []

    def nic(self, note: NicNote) -> NicPast:
        """Return what is on record of one interface."""
        mine = [logged for logged in self.records if _speaks_of(logged, note.mac)]
        logged_events = {logged.event for logged in mine}
        # What the log does not have was opened before the task, or has not landed yet.
        past = of_note(note)
        noted: dict[str | None, Device] = {
            opened.event: opened
            for opened in past.outstanding
            if opened.event in logged_events
        }
        past.outstanding = [
            opened for opened in past.outstanding if opened.event not in noted
        ]
        for logged in mine:
            _take(past, logged, noted)
        return past


def _speaks_of(logged: Logged, mac: str) -> bool:
    fields = logged.record.fields
    return mac in (fields.get("net"), fields.get("new-net"), fields.get("old-net"))


def _take(past: NicPast, logged: Logged, noted: dict[str | None, Device]) -> None:
    fields = logged.record.fields
    reason, success = fields.get("reason"), fields.get("res") == "success"
    if reason == "open" and success:
        past.outstanding.append(noted.get(logged.event) or _unconfirmed(past, logged))
        past.settled = False
    elif reason == "close":
        _close(past, str(fields.get("path")), fields.get("fd"))
    elif reason in ("start", "attach"):
        past.granted, past.settled = success, not success
    elif reason == "detach" and success:
        past.granted, past.settled = False, True


def _close(past: NicPast, path: str, fd: str | None) -> None:
    same = [opened for opened in past.outstanding if opened.path == path]
    exact = [opened for opened in same if str(opened.fd) == fd]
    for opened in (exact or same)[:1]:
        past.outstanding.remove(opened)


def _unconfirmed(past: NicPast, logged: Logged) -> Device:
    """Return the device of an open that only the log confirms; it may be noted, without an event."""
    fields = logged.record.fields
    path = str(fields.get("path"))
    for opened in past.outstanding:
        if opened.event is None and opened.path == path:
            past.outstanding.remove(opened)
            return dataclasses.replace(opened, event=logged.event)
    return Device(path, fields.get("rdev"), fields.get("dev"), None, logged.event)
