# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VIRT record as it stands in the log.

A line is ``[node=N ]type=T msg=audit(<seconds>.<ms>:<serial>): ...``; an enriched one goes on with
0x1D and names. What a program or a person chose stands in quotes or in hex, and is never searched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re

from .._audit.record import MESSAGE_TYPES, Record, decode, known_id
from .._errors import RecordError
from .old import parse_old

HEAD = (
    r"(?:node=(?P<node>[^\s'\"]+) )?type=(?P<type>%s)"
    r" msg=audit\((?P<event>(?P<time>\d{1,11}\.\d{1,3}):(?P<serial>\d{1,20}))\): ?"
)
_VIRT = re.compile(
    HEAD % "|".join(MESSAGE_TYPES)
    # The kernels of Enterprise Linux 6 say "user" first, and older ones know no session.
    + r"(?:user )?pid=(?P<pid>\d{1,10}) uid=(?P<uid>\d{1,10}|root) auid=(?P<auid>\d{1,10}|unset)"
    r"(?: ses=(?P<ses>\d{1,10}|unset))?(?: (?:tty|subj|label)=[^'\x1d]*?)? msg='(?P<text>[^\x1d\n]*)'"
    # The 0x1D may be lost, or a blank by now.
    r"(?:\x1d(?P<names>(?!.* msg=audit\().*)|(?P<lost>\x20?(?:[A-Z][A-Z0-9_]*=(?:\"[^\"]*\"|[^\s\"']+)\x20?)+))?",
    re.ASCII,
)
_USER = re.compile(r'\bUID="([^"]*)"')
_RESULT = re.compile(r" res=(?:success|failed)\)?\Z", re.ASCII)
# What libvirt before 0.9.9 and its libaudit wrote: a colon before exe, values in single quotes.
_OLD = (": exe=", "='")
# What a terminal, a word processor or a crash put into a text. Neither libvirt nor this collection writes it.
_FOREIGN = re.compile("[\x00-\x08\x0b-\x1f\x7f\u2018\u2019\u201c\u201d]|&(?:quot|#34);")
# A UUID as others write it: it would not be found by the one that is asked for.
_OTHER_UUID = re.compile(r"\{.*|[0-9A-Fa-f]{32}", re.ASCII)
_A_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9A-F]{2}(?::[0-9A-F]{2}){5}"
_MAC = re.compile(_A_MAC, re.ASCII)
_BARE_HEX_NAME = re.compile(r"(?:^| )vm=([0-9A-Fa-f]+)(?: |:|\Z)", re.ASCII)

# A field as this collection and today's libvirt write it, and what stands in the fields that an answer rests on.
_PLAIN_FIELD = re.compile(
    r'([A-Za-z][A-Za-z0-9_-]*)=("[!#-%(-~]*"|[!#-%(-~]*)', re.ASCII
)
_SOUND = {
    "vm": re.compile(r'"(?!\?").+"'),
    "uuid": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "res": re.compile("success|failed"),
    **dict.fromkeys(
        ("net", "old-net", "new-net"),
        re.compile(rf'"\?"|\?|(?P<q>"?)(?:{_A_MAC})(?P=q)'),
    ),
}
_NAMED = frozenset(("vm", "uuid", "res"))


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
    node, kind, event, time, _serial, pid, uid, auid, ses, said, names, lost = (
        match.groups()
    )
    record = _plain_record(kind, said) or _record(kind, said)
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


class _OddError(ValueError):
    """A field is not as this collection and today's libvirt write it."""


def _plain_record(kind: str, text: str) -> Record | None:
    """Read the text of nearly all records, whose fields are sound by themselves; ``None``: look at it closely.

    What it returns is what :func:`_record` returns, in a quarter of the time.
    """
    try:
        found = [*map(_plain_field, text.split(" "))]
    except _OddError:
        return None
    fields = dict(found)
    whole = len(fields) == len(found) and fields.keys() >= _NAMED
    return Record(kind, fields) if whole and ": exe=" not in text else None


# The same few stand in many records.
@functools.lru_cache(maxsize=8192)
def _plain_field(text: str) -> tuple[str, str | None]:
    """Read a field. Raises :class:`_OddError` when it is none, or may be damaged."""
    match = _PLAIN_FIELD.fullmatch(text)
    if match is None:
        raise _OddError(text)
    key, raw = match.groups()
    sound = _SOUND.get(key)
    if sound is not None and sound.fullmatch(raw) is None:
        raise _OddError(text)
    return key, decode(key, raw)


@functools.lru_cache(maxsize=256)
def _user(names: str | None) -> str | None:
    """Return the name of the sender, of what auditd adds to an enriched record."""
    match = _USER.search(names) if names else None
    return match.group(1) if match else None


def _record(kind: str, text: str) -> Record | None:
    record = None
    with contextlib.suppress(RecordError):
        if not any(word in text for word in _OLD):
            record = Record.parse(kind, text)
    record = record or parse_old(kind, text)
    return record if record is not None and _is_sound(record, text) else None


def _is_sound(record: Record, text: str) -> bool:
    """Tell whether a text says which VM it speaks of, and with what result, in the words of its writer.

    Something that changed it on its way would else make another VM of it, or a failure, without a word.
    """
    fields = record.fields
    if fields.get("res") not in ("success", "failed") or _is_foreign(text):
        return False
    uuid = fields.get("uuid")
    if uuid is None:
        # Docker has no UUID and no virt=.
        return record.type == "VIRT_CONTROL" and "virt" not in fields
    if not fields.get("vm") or f"uuid={uuid}" not in text:
        return False
    if not _is_uuid(uuid):
        return False
    if fields.get("resrc") == "net" and not all(map(_is_mac, _macs(record))):
        return False
    bare = None if ' vm="' in text else _BARE_HEX_NAME.search(text)
    return bare is None or _is_hex_name(bare[1])


def _is_foreign(text: str) -> bool:
    # Nearly all texts are plain, which is told ten times as fast.
    if text.isascii() and text.isprintable() and "&" not in text:
        return False
    return _FOREIGN.search(text) is not None


# The same few stand in many records.
@functools.lru_cache(maxsize=1024)
def _is_uuid(text: str) -> bool:
    return _OTHER_UUID.fullmatch(text) is None and text in (text.lower(), text.upper())


@functools.lru_cache(maxsize=1024)
def _is_mac(text: str) -> bool:
    return _MAC.fullmatch(text) is not None


def _is_hex_name(text: str) -> bool:
    """Tell whether a name without quotes can be told: as libaudit encodes it, or as it is, its quotes lost."""
    if len(text) % 2:
        return False
    if text == text.upper():
        return True
    try:
        name = bytes.fromhex(text).decode("utf-8")
    except UnicodeDecodeError:
        return True
    # In lower case it is hex only where one was needed.
    return name.isascii() and name.isprintable() and not set(name) & set(" \"'=")


def _id(number: str | None) -> int | None:
    """Return an auid or a session; old kernels have no session, and a name stands for what is not set."""
    return None if number is None or number == "unset" else known_id(number)


def is_root(logged: Logged) -> bool:
    """Tell whether root sent a record, by the kernel's word; what any other user sends proves nothing."""
    return logged.uid == 0


def uuid_of(logged: Logged) -> str | None:
    """Return the UUID of the VM that a record speaks of."""
    uuid = logged.record.fields.get("uuid")
    return uuid.lower() if uuid else None


def macs_of(logged: Logged) -> set[str]:
    """Return the MACs that a record names."""
    return {mac.lower() for mac in _macs(logged.record)}


def _macs(record: Record) -> list[str]:
    named = (record.fields.get(key) for key in ("net", "new-net", "old-net"))
    return [mac for mac in named if mac]
