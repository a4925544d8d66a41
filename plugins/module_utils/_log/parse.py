# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a VIRT record from a line of the log.

A line is ``[node=N ]type=T msg=audit(<seconds>.<ms>:<serial>): ...``, and an enriched line goes on with 0x1D
and names. Text that a program or a person chose is in quotes or in hex, and this module never searches it.
"""

from __future__ import annotations

import dataclasses
import functools
import re

from .._audit.record import MESSAGE_TYPES, Record, known_id
from .message import macs_in, read_message

# A host's name has at most 255 characters (RFC 1035). Without a limit, a search would read on to the end at each
# "node=" of a long text.
NODE = r"(?:node=(?P<node>[^\s'\"]{1,255}) )?"
HEAD = (
    NODE + r"type=(?P<type>%s)"
    r" msg=audit\((?P<event>(?P<time>\d{1,11}\.\d{1,3}):(?P<serial>\d{1,20}))\): ?"
)
_VIRT = re.compile(
    HEAD % "|".join(MESSAGE_TYPES)
    # The kernels of Enterprise Linux 6 write "user" first, and older ones write no session.
    + r"(?:user )?pid=(?P<pid>\d{1,10}) uid=(?P<uid>\d{1,10}|root) auid=(?P<auid>\d{1,10}|unset)"
    r"(?: ses=(?P<ses>\d{1,10}|unset))?(?: (?:tty|subj|label)=[^'\x1d]*?)? msg='(?P<text>[^\x1d\n]*)'"
    # The 0x1D may be lost, or it may have become a blank. A value without quotes ends at a blank. If another name
    # could follow without a blank, Python could split the same text in very many ways.
    r"(?:\x1d(?P<names>(?!.* msg=audit\().*)|(?P<lost>\x20?(?:[A-Z][A-Z0-9_]*=(?:\"[^\"]*\"\x20?|[^\s\"']+(?:\x20|\Z)))+))?",
    re.ASCII,
)
_USER = re.compile(r'\bUID="([^"]*)"')
_RESULT = re.compile(r" res=(?:success|failed)\)?\Z", re.ASCII)


@dataclasses.dataclass
class Logged:
    """A VIRT record from the log. ``time`` is in seconds since the epoch.

    The kernel wrote ``pid`` and the identities of the sender; ``auid`` and ``ses`` are ``None`` if they are not
    set. ``user`` is the name that ``uid`` has on the host that wrote the log, if the log has it.
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
    """Read one line. Return ``None`` if it is not a VIRT record."""
    match = _VIRT.fullmatch(text)
    if match is None:
        return None
    node, kind, event, time, _serial, pid, uid, auid, ses, said, names, lost = (
        match.groups()
    )
    record = read_message(kind, said)
    if record is None or (lost and not _RESULT.search(said)):
        return None
    return Logged(
        event=event,
        time=float(time),
        record=record,
        node=node,
        pid=int(pid),
        uid=0 if uid == "root" else int(uid),
        auid=_id(auid),
        ses=_id(ses),
        user=_user(names or lost),
    )


@functools.lru_cache(maxsize=256)
def _user(names: str | None) -> str | None:
    """Return the sender's name from the names that auditd adds to an enriched record."""
    match = _USER.search(names) if names else None
    return match.group(1) if match else None


def _id(number: str | None) -> int | None:
    """Return an auid or a session.

    Old kernels write no session, and some logs have a word in place of an unset value.
    """
    return None if number is None or number == "unset" else known_id(number)


def is_root(logged: Logged) -> bool:
    """Tell whether the kernel says that root sent a record. A record that another user sent proves nothing."""
    return logged.uid == 0


def uuid_of(logged: Logged) -> str | None:
    """Return the UUID of the VM that a record is about."""
    uuid = logged.record.fields.get("uuid")
    return uuid.lower() if uuid else None


def macs_of(logged: Logged) -> set[str]:
    """Return the MACs that a record names."""
    return {mac.lower() for mac in macs_in(logged.record)}
