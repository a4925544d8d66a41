# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the sessions of vm_net_audit_info from standard input, and prints them in the form of auvirt 3.0.9.

auvirt.py < SESSIONS        compare with auvirt --show-uuid --file LOG
"""

from __future__ import annotations

import datetime
import json
import sys
import time
import typing as t


def seconds(text: str) -> int:
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.timestamp())


def period(session: dict[str, t.Any]) -> str:
    start = seconds(session["start"])
    text = f"{time.ctime(start):16.16}"
    if session["stop"] is None:
        return text + (" - failed" if session["end"] == "failed" else "")
    stop = seconds(session["stop"])
    text += f" - {time.ctime(stop)[11:16]:7}"
    minutes, hours, days = (
        (stop - start) // 60 % 60,
        (stop - start) // 3600 % 24,
        (stop - start) // 86400,
    )
    return text + (
        f"({days}+{hours:02}:{minutes:02})" if days else f"({hours:02}:{minutes:02})"
    )


def column(text: str, width: int) -> bytes:
    """Return a text in a column. C counts bytes, and may cut in the middle of a letter."""
    return text.encode()[:width].ljust(width)


for each in json.load(sys.stdin):
    columns = [
        column(each["vm"], 22),
        column(each["uuid"], 36),
        column(each["user"] or str(each["uid"]), 11),
        column(period(each), 32),
    ]
    sys.stdout.buffer.write(b"\t".join(columns).rstrip() + b"\n")
