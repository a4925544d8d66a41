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
class NicHistory:
    """What is on record of one interface.

    ``outstanding`` devices were opened and not closed; their ``fd`` is ``None`` when only the log knows
    of them. ``granted``: a hand-over is on record and its end is not. ``settled``: a failed hand-over, or the
    detach, is on record.
    """

    outstanding: list[Device]
    granted: bool
    settled: bool = False


def of_note(note: NicNote) -> NicHistory:
    """Return what the note says: all its devices are open, and handed over when it is held."""
    return NicHistory([*note.devices], granted=note.phase == "held")


class History:
    """The records of one VM since a task began that did not end. Without such a task, what the note says.

    To be made before the next task is noted: it reads the log from when the note says that one began.
    """

    def __init__(self, note: Note | None) -> None:
        self.records: list[Logged] = []
        if note is not None and note.busy is not None:
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

    def nic(self, note: NicNote) -> NicHistory:
        """Return what is on record of one interface."""
        mine = [logged for logged in self.records if _speaks_of(logged, note.mac)]
        logged_events = {logged.event for logged in mine}
        # What the log does not have was opened before the task, or has not landed yet.
        history = of_note(note)
        noted: dict[str | None, Device] = {
            opened.event: opened
            for opened in history.outstanding
            if opened.event in logged_events
        }
        history.outstanding = [
            opened for opened in history.outstanding if opened.event not in noted
        ]
        for logged in mine:
            _take(history, logged, noted)
        return history


def _speaks_of(logged: Logged, mac: str) -> bool:
    fields = logged.record.fields
    return mac in (fields.get("net"), fields.get("new-net"), fields.get("old-net"))


def _take(history: NicHistory, logged: Logged, noted: dict[str | None, Device]) -> None:
    fields = logged.record.fields
    reason, success = fields.get("reason"), fields.get("res") == "success"
    if reason == "open" and success:
        history.outstanding.append(
            noted.get(logged.event) or _unconfirmed(history, logged)
        )
        history.settled = False
    elif reason == "close":
        _close(history, str(fields.get("path")), fields.get("fd"))
    elif reason in ("start", "attach"):
        history.granted, history.settled = success, not success
    elif reason == "detach" and success:
        history.granted, history.settled = False, True


def _close(history: NicHistory, path: str, fd: str | None) -> None:
    same = [opened for opened in history.outstanding if opened.path == path]
    exact = [opened for opened in same if str(opened.fd) == fd]
    for opened in (exact or same)[:1]:
        history.outstanding.remove(opened)


def _unconfirmed(history: NicHistory, logged: Logged) -> Device:
    """Return the device of an open that only the log confirms; it may be noted, without an event."""
    fields = logged.record.fields
    path = str(fields.get("path"))
    for opened in history.outstanding:
        if opened.event is None and opened.path == path:
            history.outstanding.remove(opened)
            return dataclasses.replace(opened, event=logged.event)
    return Device(path, fields.get("rdev"), fields.get("dev"), None, logged.event)
