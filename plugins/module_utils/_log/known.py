# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out whether the host's own logs know a VM or NICs that the host does not have now."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .._audit.record import encode_outside
from .backwards import lines_backwards
from .files import BROKEN, LogFile, host_logs
from .parse import is_root, macs_of, parse_virt, uuid_of


@dataclasses.dataclass
class Known:
    """What the logs know. ``macs`` are the MACs of the question that a record of the VM names.

    ``namesakes`` are the UUIDs of other VMs of the same name that the search met. ``begin`` is when the oldest
    readable log begins, in seconds since the epoch, or ``None`` if no log is readable.
    """

    vm: bool = False
    macs: set[str] = dataclasses.field(default_factory=set)
    namesakes: set[str] = dataclasses.field(default_factory=set)
    begin: float | None = None


def look_up(uuid: str, name: str, macs: t.AbstractSet[str]) -> Known:
    """Look for a VM in the host's own logs, the newest record first. Stop as soon as everything is known."""
    known = Known()
    needles = [f"uuid={uuid}".encode("ascii")]
    needles += [
        f"vm={form}".encode("utf-8", "surrogateescape") for form in encode_outside(name)
    ]
    with host_logs() as (logs, _unread):
        for log in reversed(logs):
            with contextlib.suppress(*BROKEN):
                known.begin = log.first_event()[0] or known.begin
                if _read(log, needles, uuid, name, macs, known):
                    break
    return known


def _read(
    log: LogFile,
    needles: t.Sequence[bytes],
    uuid: str,
    name: str,
    macs: t.AbstractSet[str],
    known: Known,
) -> bool:
    """Take over what one log knows. Return whether nothing more is left to find."""
    for line in lines_backwards(log, needles):
        logged = parse_virt(line.text.decode("utf-8", "surrogateescape"))
        if logged is None or not is_root(logged):
            continue
        other = uuid_of(logged)
        if other == uuid:
            known.vm = True
            known.macs |= macs_of(logged) & macs
        elif other is not None and logged.record.fields.get("vm") == name:
            known.namesakes.add(other)
        if known.vm and known.macs >= macs:
            return True
    return False
