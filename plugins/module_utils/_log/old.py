# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the texts of VIRT records that do not keep to the rules of libaudit.

Pure. libvirt 0.8.8 to 0.10 puts MACs into single quotes. The libaudit of its time puts a colon before ``exe``,
or puts the last fields into brackets. libvirt does not encode the paths of shared memory and of input devices.
Docker 1.12 and 1.13 write VIRT_CONTROL records of containers, with some fields twice and without a UUID.
"""

from __future__ import annotations

import re

from .._audit.record import Record, decode

_FIELD = re.compile(
    r"([A-Za-z][A-Za-z0-9_-]*)=(\"[^\"]*\"|'[^']*'|[^\s\"']*)(:(?= exe=))?(?:\s+|\Z)",
    re.ASCII,
)
_BRACKETS = re.compile(
    r" \((hostname=\S+), (addr=\S+), (terminal=\S+) (res=\w+)\)\Z", re.ASCII
)
_COMMAS = re.compile(
    r" (hostname=[^\s,]+), (addr=[^\s,]+), (terminal=[^\s,]+) (?=res=)", re.ASCII
)
_ANY = re.compile(
    r"(?<![A-Za-z0-9_-])([A-Za-z][A-Za-z0-9_-]*)=(\"[^\"]*\"|[^\s\"]*)", re.ASCII
)
# A path that has blanks ends where libaudit's own fields begin.
_RAW_PATH = re.compile(
    # The look-ahead finds the first such path. Python does not try another one, so a long text takes no longer.
    r"(?=(?P<before>(?:virt=\w+ )?resrc=(?:shmem|ivshmem|ivshmem-socket|evdev|mem|input) .*?) path=[^\"])"
    r"(?P=before) path=(?P<path>.+)"
    r" (?P<after>exe=(?:\"[^\"]*\"|[0-9A-F]+) hostname=\S+ addr=\S+ terminal=\S+ res=(?:success|failed))",
    re.ASCII,
)


def parse_old(kind: str, text: str) -> Record | None:
    """Read the text of a message. Return ``None`` if it is no list of fields, or has a field twice."""
    if kind == "VIRT_CONTROL" and "uuid=" not in text and " exe=" in text:
        return Record(
            kind, {key: decode(key, value) for key, value in _ANY.findall(text)}
        )
    raw = _RAW_PATH.fullmatch(text)
    if raw is not None:
        fields = _fields(f"{raw['before']} {raw['after']}")
        return (
            None
            if fields is None or "path" in fields
            else Record(kind, {**fields, "path": raw["path"]})
        )
    fields = _fields(_COMMAS.sub(r" \1 \2 \3 ", _BRACKETS.sub(r" \1 \2 \3 \4", text)))
    return None if fields is None else Record(kind, fields)


def _fields(text: str) -> dict[str, str | None] | None:
    fields: dict[str, str | None] = {}
    position = 0
    while position < len(text):
        match = _FIELD.match(text, position)
        if match is None or match[1] in fields:
            return None
        key, value = match[1], match[2]
        if value[:1] == "'":
            value = f'"{value[1:-1]}"'
        elif value.endswith(":") and text.startswith("exe=", match.end()):
            value = value[:-1]
        fields[key] = decode(key, value)
        position = match.end()
    return fields or None
