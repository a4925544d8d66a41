# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history: who held which NIC from when to when. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from .._time import iso
from .grants import Grant


@dataclasses.dataclass(frozen=True)
class Held:
    """One entry: a VM held the devices of a NIC on one network.

    ``until`` is ``None`` while the VM still holds them.
    """

    grant: Grant
    until: float | None = None
    end_event: str | None = None

    def begin(self) -> tuple[float, str]:
        """Return when the entry began, in seconds since the epoch, and the record that began it."""
        return self.grant.placed[:2]

    def result(self) -> dict[str, t.Any]:
        """Return the module's value."""
        grant = self.grant
        since, event, auid, _pid = grant.placed
        return {
            "node": grant.node,
            "vm": grant.vm,
            "uuid": grant.uuid,
            "mac": grant.mac,
            "network": grant.network,
            "ifname": grant.link,
            "since": iso(since),
            "until": None if self.until is None else iso(self.until),
            "auid": auid,
            "ticket": grant.ticket,
            "event": event,
            "end_event": self.end_event,
        }


class History:
    """Collects the grants that ended between ``since`` and ``until`` (seconds since the epoch)."""

    def __init__(self, since: float | None = None, until: float | None = None) -> None:
        self._since, self._until = since, until
        self._ended: list[Held] = []

    def end(self, grant: Grant, time: float, event: str) -> None:
        """Take a grant that ended."""
        if self._since is None or time >= self._since:
            self._ended.append(Held(grant, time, event))

    def all(self, held: t.Iterable[Grant]) -> list[Held]:
        """Return these and the grants that are still ``held``, the oldest first."""
        found = [*self._ended, *(Held(grant) for grant in held)]
        if self._until is not None:
            found = [each for each in found if each.begin()[0] <= self._until]
        return sorted(found, key=Held.begin)
