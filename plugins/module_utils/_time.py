# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converts points in time between the forms of options and results and the seconds since the epoch that the code uses."""

from __future__ import annotations

import datetime
import re

from ._errors import OptionError

_SECONDS = re.compile(r"\d{1,11}(?:\.\d{1,9})?", re.ASCII)


def iso(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, to the millisecond, which is what the kernel records."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(option: str, text: str) -> float:
    """Read ISO 8601 or seconds since the epoch. A time without an offset is in the host's time zone.

    Raises :class:`OptionError`.
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        # Python 3.9 does not know the Z for UTC.
        moment = datetime.datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
        seconds = moment.timestamp()
        # In UTC the year may differ, and may not exist.
        iso(seconds)
        return seconds
    except (ValueError, OverflowError, OSError) as exc:
        raise OptionError(
            option,
            f"{text!r} is not a time; write it as 2026-01-31, 2026-01-31T08:30:00, 2026-01-31T08:30:00+01:00 or in "
            "seconds since the epoch",
        ) from exc
