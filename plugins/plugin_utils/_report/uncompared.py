# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts whose trail was not compared with what they hold now."""

from __future__ import annotations

import collections

from .timeline import clock

_NAMED = 10


class Uncompared:
    """Collects these hosts, and says so in one sentence."""

    def __init__(self) -> None:
        self._hosts: list[str] = []
        self._past = False
        self._until: list[str] = []

    def add(self, host: str, past: bool, until: str | None) -> None:
        """Take a host. ``past``: somebody asked for a time in the past. ``until``: the end of that time."""
        self._hosts.append(host)
        self._past = self._past or past
        if until is not None:
            self._until.append(until)

    def sentence(self, hosts: int) -> str | None:
        """Return the sentence for a report on this number of hosts, or ``None`` if all were compared."""
        if not self._hosts:
            return None
        why = ", as a time was asked for" if self._past else ""
        which = ""
        if len(self._hosts) < hosts:
            more = len(self._hosts) - _NAMED
            named = ", ".join(self._hosts[:_NAMED])
            which = f" of {named}" + (f" and {more} more" if more > 0 else "")
        compared = f"Nothing was compared with what the hosts hold now{which}{why}."
        if not self._until:
            return compared
        # A host may answer with another time.
        until, _count = collections.Counter(self._until).most_common(1)[0]
        return f"{compared} The report shows the trail as it was at {clock(until)}."
