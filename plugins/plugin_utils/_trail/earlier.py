# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out which records the files of earlier runs have, so that each id stands in only one line of a directory."""

from __future__ import annotations

import os
import re

from .directory import trail_names
from .ledger import Event, Events, parse_event
from .regular import open_regular

# The callback writes the members of a line in this order.
_HOST = re.compile(rb'"host":\{"name":("(?:[^"\\]|\\.)*")')
_ID = re.compile(rb'"event":\{"kind":"event",.*?"id":"([0-9.:]+)"')
# The clock of a host may be ahead of the controller's clock by this number of seconds.
_SLACK = 86400


class Earlier:
    """Reads the files that stood there when the run began. It reads them when somebody asks, and only those that it needs."""

    def __init__(self, directory: int, names: list[str]) -> None:
        self._directory = directory
        self._left = list(names)
        self._reached = float("inf")
        self._known: dict[bytes, Events] = {}

    @classmethod
    def of(cls, path: str, own: str) -> Earlier:
        """Look at the directory of a trail. Raises :class:`OSError`."""
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return cls(directory, [name for name in trail_names(directory) if name != own])

    def has(self, host: bytes, event: Event) -> bool:
        """Tell whether a line has this record. ``host`` is its name as JSON."""
        self._read_back_to(event[0] / 1000 - _SLACK)
        return event in self._known.get(host, ())

    def close(self) -> None:
        """Close the directory."""
        os.close(self._directory)

    def _read_back_to(self, time: float) -> None:
        if time >= self._reached:
            return
        self._reached = time
        for name in [each for each in self._left if self._modified(each) >= time]:
            self._left.remove(name)
            self._read(name)

    def _modified(self, name: str) -> float:
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mtime
        except OSError:
            return 0.0

    def _read(self, name: str) -> None:
        try:
            with open(open_regular(name, self._directory), "rb") as handle:
                for line in handle:
                    self._take(line)
        except OSError:
            # The check of trails says what is wrong with it.
            return

    def _take(self, line: bytes) -> None:
        host, found = _HOST.search(line), _ID.search(line)
        if host is None or found is None:
            return
        event = parse_event(found[1].decode("ascii"))
        if event is not None:
            self._known.setdefault(host[1], Events()).add(event)
