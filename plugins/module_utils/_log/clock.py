# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Completes the times of lines that leave out the year, the date or the time zone.

Pure but for the host's time zone.
"""

from __future__ import annotations

import datetime
import re

# journalctl -o short, short-precise, short-full, short-iso, short-unix; a time alone from a report.
_STAMP = re.compile(
    r"(?:(?P<unix>\d{9,11}\.\d+)"
    r"|(?:[A-Z][a-z]{2} )?(?P<date>\d{4}-\d\d-\d\d)[T ](?P<at>\d\d:\d\d:\d\d)(?:[.,](?P<part>\d+))?(?: ?(?P<zone>Z|[+-]\d\d(?::?\d\d)?|[A-Z]{3,5}))?"
    r"|(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]?\d) (?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?"
    r"|(?P<alone>\d\d:\d\d:\d\d)(?:\.(?P<rest>\d+))?)",
    re.ASCII,
)
STAMP = re.sub(r"\?P<\w+>", "?:", _STAMP.pattern)
_MONTHS = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]
_DAY = datetime.timedelta(days=1)


class Clock:
    """Reads the times in one file, which was last written at ``written`` (seconds since the epoch).

    ``guesses`` tells an operator what this class had to guess.
    """

    def __init__(self, written: float) -> None:
        self._written = datetime.datetime.fromtimestamp(written).astimezone()
        self.guesses: set[str] = set()
        # The time of the record that was read last.
        self.last = 0.0
        # For each host, the boots that the journal names.
        self._boot_ids: dict[str | None, set[str]] = {}

    def written(self) -> float:
        """Return when the file was last written, in seconds since the epoch."""
        return self._written.timestamp()

    def none(self) -> float:
        """Return the time of a line without one."""
        self.guesses.add(
            "no time: the module takes the time at which the file was written"
        )
        return self._written.timestamp()

    def begin(self) -> None:
        """Begin to read the file."""
        self._boot_ids = {}

    def booted(self, host: str | None, boot_id: str) -> bool:
        """Tell whether a host booted before an entry of the journal, which names the boot."""
        known = self._boot_ids.setdefault(host, set())
        if boot_id in known:
            return False
        known.add(boot_id)
        return len(known) > 1

    def read(self, stamp: str) -> float | None:
        """Return the time of a stamp, in seconds since the epoch, or ``None`` if the text is no stamp."""
        match = _STAMP.fullmatch(stamp)
        if match is None:
            return None
        if match["unix"]:
            return float(match["unix"])
        try:
            return self._read(match)
        except (ValueError, OverflowError):
            return None

    def _read(self, match: re.Match[str]) -> float:
        fraction = match["part"] or match["fraction"] or match["rest"] or "0"
        part = float(f"0.{fraction}")
        if match["date"]:
            day = datetime.date.fromisoformat(match["date"])
            time = datetime.time.fromisoformat(match["at"])
            zone = match["zone"]
            found = datetime.datetime.combine(day, time)
            if zone and (zone == "Z" or zone in ("UTC", "GMT")):
                return found.replace(tzinfo=datetime.timezone.utc).timestamp() + part
            if zone and zone[0] in "+-":
                # A zone without a name is called by its hours.
                offset = f"{zone[:3]}:{zone[3:].lstrip(':') or '00'}"
                return (
                    datetime.datetime.fromisoformat(
                        f"{found.isoformat()}{offset}"
                    ).timestamp()
                    + part
                )
            self._guess_zone()
            return found.timestamp() + part
        self._guess_zone()
        if match["month"]:
            self.guesses.add("no year: the module takes the last year that fits")
            month = _MONTHS.index(match["month"]) + 1
            time = datetime.time.fromisoformat(match["clock"])
            return self._latest(month, int(match["day"]), time) + part
        self.guesses.add(
            "no date: the module takes the day on which the file was written, or the day before"
        )
        time = datetime.time.fromisoformat(match["alone"])
        found = datetime.datetime.combine(self._written.date(), time)
        if found.timestamp() > self._written.timestamp() + 1:
            found -= _DAY
        return found.timestamp() + part

    def _latest(self, month: int, day: int, time: datetime.time) -> float:
        """Return the last such day that is not after the file was written."""
        limit = (self._written + _DAY).timestamp()
        for year in range(self._written.year + 1, self._written.year - 9, -1):
            try:
                found = datetime.datetime.combine(datetime.date(year, month, day), time)
            except ValueError:
                # The 29th of February.
                continue
            if found.timestamp() <= limit:
                return found.timestamp()
        raise ValueError("no such day")

    def _guess_zone(self) -> None:
        self.guesses.add("no time zone: the module takes this host's")
