# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out what an interrupted task has recorded already, so that nothing is recorded twice or left out.

A task can die between a record and its note. Then only the log knows the record.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from .._device import Device
from .note import NicNote, Note

if t.TYPE_CHECKING:
    from .._log.parse import Logged

# The kernel's records and the note use the same clock, but their ticks have different lengths.
_SLACK_SECONDS = 0.1
_MACS = ("net", "new-net", "old-net")
_TURNS = ("start", "attach", "detach")


@dataclasses.dataclass
class NicHistory:
    """What is on record of one interface. ``outstanding`` devices were opened and not closed.

    Their ``fd`` is ``None`` if only the log knows of them. ``granted`` tells that a hand-over is on record and
    its end is not. ``settled`` tells that a failed hand-over or the detach is on record.
    """

    outstanding: list[Device]
    granted: bool
    settled: bool = False

    @property
    def is_end_due(self) -> bool:
        """Tell whether a record of its end is missing: a detach, a failed hand-over or a close."""
        return self.granted or not self.settled or bool(self.outstanding)


def of_note(note: NicNote) -> NicHistory:
    """Return the history that the note implies.

    All devices of the interface are open. If the note says that the interface is held, they are handed over.
    """
    return NicHistory([*note.devices], granted=note.phase == "held")


class History:
    """The records of one VM since the beginning of an interrupted task or, without such a task, what the note says.

    Make it before the next task is noted, because it reads the log from the time at which the note says that a
    task began.
    """

    def __init__(self, note: Note | None) -> None:
        self.records: list[Logged] = []
        if note is not None and note.busy is not None:
            # The import is here because this is seldom needed, and the code that reads logs takes a
            # while to import.
            from .._log.recent import records_of

            since = _earliest(note.busy, note.busy_up)
            self.records = records_of(note.uuid, since - _SLACK_SECONDS)

    def control(self) -> tuple[str | None, str | None]:
        """Return ``op`` and ``res`` of the last VIRT_CONTROL of the VM's last run, if there is one."""
        for logged in reversed(self.records):
            if logged.record.type == "VIRT_MACHINE_ID":
                # The first record of a start.
                break
            if logged.record.type == "VIRT_CONTROL":
                return logged.record.fields.get("op"), logged.record.fields.get("res")
        return None, None

    def has_update(
        self, mac: str, change: t.Mapping[str, str | None], success: bool
    ) -> bool:
        """Tell whether a change of one value of an interface's network is on record, as done or as failed.

        Only the last record of such a change counts, because an earlier task may have made the same change.
        """
        result = "success" if success else "failed"
        for logged in reversed(self.records):
            fields = logged.record.fields
            same = (fields.get("reason"), fields.get("net")) == ("update", mac)
            if same and change.keys() <= fields.keys():
                return fields.get("res") == result and change.items() <= fields.items()
        return False

    def nic(self, note: NicNote) -> NicHistory:
        """Return what is on record of one interface: the earlier note, with the changes that these records make."""
        mine = [
            logged
            for logged in self.records
            if note.mac in map(logged.record.fields.get, _MACS)
        ]
        if not mine:
            return of_note(note)
        from .._analysis.devices import NicDevices

        noted, earlier = _split(note.devices, mine)
        on_record = NicDevices()
        if note.phase == "held" and not _begins_with_grant(mine):
            on_record.held, on_record.exact = earlier, True
        else:
            on_record.released = earlier
        for logged in mine:
            on_record.take(logged)
        # A device whose open is not on record needs no close.
        outstanding = [each for each in on_record.outstanding if each.path]
        for each in outstanding:
            if each.fd is None and each.event in noted:
                # No record names the descriptor of this device.
                each.fd = noted[each.event].fd
        return NicHistory(
            outstanding,
            granted=on_record.held is not None,
            settled=on_record.settled,
        )


def _earliest(busy: float, busy_up: float | None) -> float:
    """Return the time from which on there may be records of a task, by when it began.

    If somebody has set the clock back since then, the later records have earlier times.
    """
    if busy_up is None:
        return busy
    return min(busy, time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + busy_up)


def _begins_with_grant(records: t.Iterable[Logged]) -> bool:
    """Tell whether a hand-over comes before any detach.

    Then the noted devices were opened earlier and not handed over.
    """
    for logged in records:
        fields = logged.record.fields
        if fields.get("res") == "success" and fields.get("reason") in _TURNS:
            return fields["reason"] != "detach"
    return False


def _split(
    devices: t.Iterable[Device], records: t.Iterable[Logged]
) -> tuple[dict[str, Device], list[Device]]:
    """Return the noted devices whose open is among the records, by its event, and those that were opened before.

    If a device is noted without an event, its open may still be on record. Then the record is the one of an open of
    the same path.
    """
    opens = {
        logged.event: logged.record.fields.get("path")
        for logged in records
        if logged.record.fields.get("reason") == "open"
        and logged.record.fields.get("res") == "success"
    }
    noted: dict[str, Device] = {}
    earlier = []
    for opened in devices:
        event = opened.event
        if event is None:
            landed = (each for each, path in opens.items() if path == opened.path)
            event = next((each for each in landed if each not in noted), None)
        if event in opens:
            noted[event] = opened
        else:
            earlier.append(opened)
    return noted, earlier
