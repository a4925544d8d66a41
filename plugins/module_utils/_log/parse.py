# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VIRT record as it stands in the log.

A line is ``[node=N ]type=T msg=audit(<seconds>.<ms>:<serial>): ...``; an enriched one goes on with
0x1D and names. What a program or a person chose stands in quotes or in hex, and is never searched.
"""

from __future__ import annotations

import dataclasses
import re

from .._audit.record import MESSAGE_TYPES, Record, known_id
from .._errors import RecordError

HEAD = (
    r"(?:node=(?P<node>[^\s'\"]+) )?type=(?P<type>%s)"
    r" msg=audit\((?P<event>(?P<time>\d{1,11}\.\d{1,3}):(?P<serial>\d{1,20}))\): ?"
)
_VIRT = re.compile(
    HEAD % "|".join(MESSAGE_TYPES)
    + r"pid=(?P<pid>\d{1,10}) uid=(?P<uid>\d{1,10}) auid=(?P<auid>\d{1,10})"
    r" ses=(?P<ses>\d{1,10})(?: subj=[^'\x1d]*?)? msg='(?P<text>[^\x1d\n]*)'(?:\x1d(?P<names>.*))?",
    re.ASCII,
)
_USER = re.compile(r'\bUID="([^"]*)"')


@dataclasses.dataclass
class Logged:
    """A VIRT record as it stands in the log.

    ``time`` is in seconds since the epoch. ``pid`` and the identities are the kernel's words of
    the sender, ``auid`` and ``ses`` ``None`` where they are not set. ``user`` is the name of
    ``uid`` on the host that wrote the log, where the log has it.
    """

    event: str
    time: float
    record: Record
    node: str | None = None
    pid: int = 0
    uid: int = 0
    auid: int | None = None
    ses: int | None = None
    user: str | None = None


def parse_virt(text: str) -> Logged | None:
    """Read one line; ``None`` when it is no VIRT record."""
    match = _VIRT.fullmatch(text)
    if match is None:
        return None
    try:
        record = Record.parse(match["type"], match["text"])
    except RecordError:
        return None
    node, _type, event, time, _serial, pid, uid, auid, ses, _text, names = (
        match.groups()
    )
    user = _USER.search(names) if names else None
    return Logged(
        event=event,
        time=float(time),
        record=record,
        node=node,
        pid=int(pid),
        uid=int(uid),
        auid=known_id(auid),
        ses=known_id(ses),
        user=user.group(1) if user else None,
    )


def uuid_of(logged: Logged) -> str | None:
    """Return the UUID of the VM that a record speaks of."""
    uuid = logged.record.fields.get("uuid")
    return uuid.lower() if uuid else None
