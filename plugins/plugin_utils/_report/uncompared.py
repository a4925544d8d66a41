# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts whose trail was not compared with what they hold now."""

from __future__ import annotations

_NAMED = 10


class Uncompared:
    """Collects these hosts, and says so in one sentence."""

    def __init__(self) -> None:
        self._hosts: list[str] = []
        self._past = False

    def add(self, host: str, past: bool) -> None:
        """Take a host. ``past``: somebody asked for a time in the past."""
        self._hosts.append(host)
        self._past = self._past or past

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
        return f"Nothing was compared with what the hosts hold now{which}{why}."
