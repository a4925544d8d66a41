# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the latest records of one VM."""

from __future__ import annotations

import contextlib

from .backwards import lines_backwards
from .files import BROKEN, host_logs
from .parse import Logged, is_root, parse_virt


def records_of(uuid: str, since: float) -> list[Logged]:
    """Return a VM's records from ``since`` (seconds since the epoch) on, oldest first.

    Read backwards and only as far as needed, also in rotated files.
    """
    found: list[Logged] = []
    needle = f"uuid={uuid}".encode("ascii")
    with host_logs() as (logs, _unread):
        for log in reversed(logs):
            with contextlib.suppress(*BROKEN):
                for line in lines_backwards(log, [needle]):
                    logged = parse_virt(line.text.decode("utf-8", "surrogateescape"))
                    if logged is None or not is_root(logged):
                        continue
                    if logged.time < since:
                        return found[::-1]
                    if logged.record.fields.get("uuid") == uuid:
                        found.append(logged)
            if log.first_event()[0] < since:
                break
    return found[::-1]
