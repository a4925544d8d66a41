# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the fields of a VIRT record's text, which is what ``msg='...'`` holds.

It refuses a text that may be damaged. Pure.
"""

from __future__ import annotations

import contextlib
import functools
import re
import typing as t

from .._audit.record import Record, decode
from .._errors import RecordError
from .old import parse_old

# Forms of libvirt before 0.9.9 and the libaudit of its time: a colon before exe, values in single
# quotes.
_OLD = (": exe=", "='")
# Characters that a terminal, a word processor or a crash puts into a text. Neither libvirt nor this collection writes them.
_FOREIGN = re.compile("[\x00-\x08\x0b-\x1f\x7f\u2018\u2019\u201c\u201d]|&(?:quot|#34);")
# A UUID in another notation. A search for the usual notation would not find it.
_OTHER_UUID = re.compile(r"\{.*|[0-9A-Fa-f]{32}", re.ASCII)
_A_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9A-F]{2}(?::[0-9A-F]{2}){5}"
_MAC = re.compile(_A_MAC, re.ASCII)
_BARE_HEX_NAME = re.compile(r"(?:^| )vm=([0-9A-Fa-f]+)(?: |:|\Z)", re.ASCII)

# A field in the form of this collection and of today's libvirt, and the values of the fields that
# an answer rests on.
_PLAIN_FIELD = re.compile(
    r'([A-Za-z][A-Za-z0-9_-]*)=("[!#-%(-~]*"|[!#-%(-~]*)', re.ASCII
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SOUND = {
    "vm": re.compile(r'"(?!\?").+"'),
    "uuid": _UUID,
    "res": re.compile("success|failed"),
    **dict.fromkeys(
        ("net", "old-net", "new-net"),
        re.compile(rf'"\?"|\?|(?P<q>"?)(?:{_A_MAC})(?P=q)'),
    ),
}
_NAMED = frozenset(("vm", "uuid", "res"))
# libvirt's src/conf/domain_audit.c; init is LXC's.
_OPS = frozenset(("start", "stop", "init"))
# For each reason of a NIC's record: the fields, one of which must hold a MAC.
_NICS: dict[str | None, tuple[str, ...]] = {
    "open": ("net",),
    "close": ("net",),
    "prepare": ("net",),
    "start": ("new-net",),
    "attach": ("new-net",),
    "detach": ("old-net",),
    "update": ("net", "new-net", "old-net"),
}
_RDEV = re.compile(r"[0-9A-F]{2,}:[0-9A-F]{2,}|", re.ASCII)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)


def read_message(kind: str, text: str) -> Record | None:
    """Read the text of a message.

    Return ``None`` if it is damaged, or if it does not say what happened to which VM.
    """
    return _at_a_glance(kind, text) or _closely(kind, text)


class _OddError(ValueError):
    """A field has another form than this collection and today's libvirt give it."""


def _at_a_glance(kind: str, text: str) -> Record | None:
    """Read the text of nearly all records, whose fields are sound by themselves.

    Return what :func:`_closely` returns, in a quarter of the time, or ``None`` if the text needs that closer
    look.
    """
    try:
        found = [*map(_plain_field, text.split(" "))]
    except _OddError:
        return None
    fields = dict(found)
    whole = len(fields) == len(found) and fields.keys() >= _NAMED
    return Record(kind, fields) if whole and ": exe=" not in text else None


# Many records have the same few values.
@functools.lru_cache(maxsize=8192)
def _plain_field(text: str) -> tuple[str, str | None]:
    """Read a field. Raises :class:`_OddError` if the text is not a field, or if it may be damaged."""
    match = _PLAIN_FIELD.fullmatch(text)
    if match is None:
        raise _OddError(text)
    key, raw = match.groups()
    sound = _SOUND.get(key)
    if sound is not None and sound.fullmatch(raw) is None:
        raise _OddError(text)
    return key, decode(key, raw)


def _closely(kind: str, text: str) -> Record | None:
    record = None
    with contextlib.suppress(RecordError):
        if not any(word in text for word in _OLD):
            record = Record.parse(kind, text)
    record = record or parse_old(kind, text)
    return record if record is not None and _is_sound(record, text) else None


def _is_sound(record: Record, text: str) -> bool:
    """Tell whether a text names its VM and its result in the words of the program that wrote it.

    Without this check, damage on the way could silently turn the text into a record of another VM, or into a
    failure.
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
    if fields.get("resrc") == "net" and not all(map(_is_mac, macs_in(record))):
        return False
    bare = None if ' vm="' in text else _BARE_HEX_NAME.search(text)
    return bare is None or _is_hex_name(bare[1])


def _is_foreign(text: str) -> bool:
    # Nearly all texts are plain, and this check is ten times as fast.
    if text.isascii() and text.isprintable() and "&" not in text:
        return False
    return _FOREIGN.search(text) is not None


# Many records have the same few names.
@functools.lru_cache(maxsize=1024)
def _is_uuid(text: str) -> bool:
    return _OTHER_UUID.fullmatch(text) is None and text in (text.lower(), text.upper())


@functools.lru_cache(maxsize=1024)
def _is_mac(text: str) -> bool:
    return _MAC.fullmatch(text) is not None


def _is_hex_name(text: str) -> bool:
    """Tell whether a name without quotes is readable. Either libaudit has encoded it, or it has lost its quotes."""
    if len(text) % 2:
        return False
    if text == text.upper():
        return True
    try:
        name = bytes.fromhex(text).decode("utf-8")
    except UnicodeDecodeError:
        return True
    # Lower-case hex is an encoded name only if the name needed an encoding.
    return name.isascii() and name.isprintable() and not set(name) & set(" \"'=")


def says_what(record: Record) -> bool:
    """Tell whether a record says in known words what happened to a NIC or to the VM.

    For other resources a newer libvirt may have kinds and reasons that this module does not know.
    """
    fields = record.fields
    uuid = fields.get("uuid")
    if uuid is None:
        # The record of a container has other words, and no UUID.
        return record.type == "VIRT_CONTROL"
    if not _is_whole_uuid(uuid):
        return False
    if record.type == "VIRT_CONTROL":
        return fields.get("op") in _OPS
    if record.type != "VIRT_RESOURCE":
        return True
    reason = fields.get("reason")
    if fields.get("resrc") == "net":
        named = any(map(fields.get, _NICS.get(reason, ())))
        return named and (reason not in ("open", "close") or _has_device(fields))
    if macs_in(record):
        # Only a NIC has a MAC.
        return False
    return _is_word(fields.get("resrc") or "") and _is_word(reason or "")


def _has_device(fields: t.Mapping[str, str | None]) -> bool:
    """Tell whether a record names a device.

    The writer may say that a number is missing, but it does not leave the field out.
    """
    if "path" not in fields or "rdev" not in fields:
        return False
    return _RDEV.fullmatch(fields["rdev"] or "") is not None


@functools.lru_cache(maxsize=1024)
def _is_whole_uuid(text: str) -> bool:
    return _UUID.fullmatch(text.lower()) is not None


@functools.lru_cache(maxsize=1024)
def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def macs_in(record: Record) -> list[str]:
    """Return the MACs that a record names, in its own notation."""
    named = (record.fields.get(key) for key in ("net", "new-net", "old-net"))
    return [mac for mac in named if mac]
