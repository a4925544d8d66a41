# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which records were sent, and which of them the hosts' logs have."""

from __future__ import annotations

import array
import collections.abc
import dataclasses
import functools
import re
import typing as t
from bisect import bisect_left

Event = tuple[int, int]

_EVENT = re.compile(r"(\d{1,11})\.(\d{3}):(\d{1,19})", re.ASCII)
# A closing line names at most this number of events, and counts all of them.
NAMED = 100


# The trail asks several times about each event of a result.
@functools.lru_cache(maxsize=1024)
def parse_event(text: str) -> Event | None:
    """Read ``<seconds>.<ms>:<serial>`` as milliseconds and serial number. Return ``None`` if the text is something else."""
    match = _EVENT.fullmatch(text)
    return (int(match[1] + match[2]), int(match[3])) if match else None


def format_event(event: Event) -> str:
    """Return an event as ausearch writes it."""
    milliseconds, serial = event
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}:{serial}"


class Events(collections.abc.Sequence[Event]):
    """A sorted set of events. Each takes 16 bytes, because the run of a fleet has many."""

    def __init__(self) -> None:
        self._times = array.array("Q")
        self._serials = array.array("Q")

    def __len__(self) -> int:
        return len(self._times)

    @t.overload
    def __getitem__(self, index: int) -> Event: ...

    @t.overload
    def __getitem__(self, index: slice) -> list[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        if isinstance(index, slice):
            return list(zip(self._times[index], self._serials[index]))
        return self._times[index], self._serials[index]

    def __contains__(self, event: object) -> bool:
        # The method that a sequence has of its own looks at one event after the other.
        if not isinstance(event, tuple):
            return False
        position = bisect_left(self, event)
        return position < len(self) and self[position] == event

    def add(self, event: Event) -> bool:
        """Add an event. Return whether it is new."""
        times, serials = self._times, self._serials
        # Most events come in order.
        if not times or (times[-1], serials[-1]) < event:
            times.append(event[0])
            serials.append(event[1])
            return True
        position = bisect_left(self, event)
        if self[position] == event:
            return False
        times.insert(position, event[0])
        serials.insert(position, event[1])
        return True


@dataclasses.dataclass
class Account:
    """What the run knows about the records of one VM on one machine."""

    name: str
    waiting: Events = dataclasses.field(default_factory=Events)
    missing: Events = dataclasses.field(default_factory=Events)
    landed: int = 0

    def look(self, read: t.AbstractSet[Event], covered: range) -> None:
        """Compare with the events that were read. These are all events of the milliseconds ``covered``."""
        waiting, missing = Events(), Events()
        for event in self.missing:
            if event in read:
                self.landed += 1
            else:
                missing.add(event)
        for event in self.waiting:
            if event in read:
                self.landed += 1
            elif event[0] in covered:
                missing.add(event)
            else:
                waiting.add(event)
        self.waiting, self.missing = waiting, missing


@dataclasses.dataclass
class Machine:
    """What the run knows about the records of one machine.

    ``read`` has the events that the log showed before a task returned them. ``read_back`` counts those that no task has
    returned. ``unknown`` counts the tasks whose records did not come back.
    """

    sent: int = 0
    unconfirmed: int = 0
    unknown: int = 0
    read_back: int = 0
    returned: Events = dataclasses.field(default_factory=Events)
    read: Events = dataclasses.field(default_factory=Events)
    accounts: dict[str, Account] = dataclasses.field(default_factory=dict)

    def send(self, uuid: str, name: str, event: Event | None) -> bool:
        """Note a record that a module says it sent. Return whether it is not in the trail yet."""
        self.sent += 1
        if event is None:
            self.unconfirmed += 1
            return True
        account = self.accounts.setdefault(uuid, Account(name))
        if event in self.read:
            account.landed += 1
            self.read_back -= 1
            return False
        account.waiting.add(event)
        return True

    def recall(self, event: Event) -> bool:
        """Note a record that its log has. Return whether it is not in the trail yet."""
        fresh = event not in self.returned and self.read.add(event)
        self.read_back += fresh
        return fresh

    def look(
        self,
        read: t.AbstractSet[Event],
        covered: range,
        uuids: t.Collection[str] | None,
        name: str | None,
    ) -> None:
        """Compare the sent records with the records that were read back, of these VMs only if the question was about one VM."""
        for key, account in self.accounts.items():
            asked = uuids is None or key in uuids
            asked = asked and name in (None, account.name)
            account.look(read, covered if asked else range(0))

    @property
    def landed(self) -> int:
        return sum(account.landed for account in self.accounts.values())

    @property
    def missing(self) -> list[Event]:
        """The events that the host's log should have and does not have."""
        found: list[Event] = []
        for account in self.accounts.values():
            found += account.missing
        return sorted(found)

    def result(self, name: str) -> dict[str, t.Any]:
        """Return the counts for the closing line."""
        missing = self.missing
        waiting = sum(len(account.waiting) for account in self.accounts.values())
        return {
            "name": name,
            "sent": self.sent,
            "landed": self.landed,
            "missing": len(missing),
            "unchecked": waiting + self.unconfirmed,
            "unconfirmed": self.unconfirmed,
            "unknown": self.unknown,
            "missing_events": [format_event(event) for event in missing[:NAMED]],
        }
