# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One class that writes and reads the text of an audit record.

The text is libvirt's (``src/conf/domain_audit.c``), and the encoding is that of ``audit_encode_nv_string(3)``.
A value from outside is in double quotes. If it has a byte that could end the quotes or the record, it is in
upper-case hex.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing as t

from .._errors import RecordError
from .network import Network

# include/uapi/linux/audit.h
MESSAGE_TYPES: dict[str, int] = {
    "VIRT_CONTROL": 2500,
    "VIRT_RESOURCE": 2501,
    "VIRT_MACHINE_ID": 2502,
}

# The kernel silently cuts off the end of a longer text, and so its res=.
MAX_TEXT_BYTES = 8000

# The fields whose value comes from outside. They are in quotes or in hex.
_BEFORE_AND_AFTER = (
    "net",
    "disk",
    "fs",
    "chardev",
    "rng",
    "smartcard",
    # What an update changes. Some values come from a switch's database, where they can be any text. The kernel tells the
    # MAC of a link, which needs no quotes.
    *(each.name for each in dataclasses.fields(Network) if each.name != "hwaddr"),
)
ENCODED_FIELDS = frozenset(
    (
        "vm",
        "path",
        "dev",
        "device",
        "exe",
        "cgroup",
        "source",
        "vlan",
        "filter",
        "addresses",
        "isolated",
        "link",
        "ticket",
        *(f"old-{what}" for what in _BEFORE_AND_AFTER),
        *(f"new-{what}" for what in _BEFORE_AND_AFTER),
    )
)

# libvirt writes the missing value of these fields in quotes.
_QUOTED_WHEN_MISSING = frozenset(
    ("old-net", "new-net", "old-disk", "new-disk", "old-fs", "new-fs")
)

# The first of the fields that tell who sends a record.
_FIRST_OF_ORIGIN = "exe"

# An auid or a session that is not set.
_UNSET = 4294967295

# These are the bytes of audit_value_needs_encoding(), and two more: the single quote, which ends the msg='...' around a
# user message, and the equals sign, because ausearch looks for "uuid=" with strstr() and would find it inside a VM's
# name.
_PLAIN = re.compile(r"[!#-&(-<>-~]*", re.ASCII)
_RAW = re.compile(r"[!#-&(-<>-~]+", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-F]{2})+", re.ASCII)
# A field begins after a blank. Without this condition, findall() would try each letter of a long word.
_FIELD = re.compile(
    r'(?<!\S)(([A-Za-z][A-Za-z0-9_-]*)=("[^"]*"|[^\s"]*)(?:\s+|\Z))', re.ASCII
)


@dataclasses.dataclass(frozen=True)
class Record:
    """One audit user message: its type and its fields in order.

    ``fields`` maps a field's name to its decoded value; ``None`` is a missing value.
    """

    type: str
    fields: t.Mapping[str, str | None]

    @property
    def number(self) -> int:
        """Return the number of its message type."""
        return MESSAGE_TYPES[self.type]

    @property
    def what(self) -> str:
        """Return one word for what the record is about, which is its reason or its type."""
        return self.fields.get("reason") or self.type

    def text(self) -> str:
        """Return the text for the kernel.

        Raises :class:`RecordError` if a value that is written raw could break the record, or if the kernel
        would cut the text.
        """
        return self._text

    @functools.cached_property
    def _text(self) -> str:
        # A record is sent, found in the kernel's echo, and found in the log.
        text = " ".join(
            f"{key}={_encode(key, value)}" for key, value in self.fields.items()
        )
        size = len(text.encode("ascii"))
        if size > MAX_TEXT_BYTES:
            raise RecordError(
                f"an audit record of {size} bytes is too long: the kernel would cut it after"
                f" {MAX_TEXT_BYTES}; use a shorter VM name or ticket, or fewer addresses"
            )
        return text

    def of_task(self, ticket: str | None, run: str | None = None) -> Record:
        """Return the record with the ticket of its task and the id of the run of Ansible, if there are any.

        They follow the record's own fields and come before those of its origin.
        """
        named = {"ticket": ticket, "run": run}
        task = {name: value for name, value in named.items() if value is not None}
        if not task:
            return self
        fields: dict[str, str | None] = {}
        for key, value in self.fields.items():
            if key == _FIRST_OF_ORIGIN:
                fields.update(task)
            fields[key] = value
        return Record(self.type, fields)

    @classmethod
    def parse(cls, record_type: str, text: str) -> Record:
        """Read back the text of a message, which is what ``msg='...'`` holds.

        Raises :class:`RecordError` if the text is not a list of fields, or has a field twice.
        """
        found = _FIELD.findall(text)
        fields = {key: decode(key, value) for _whole, key, value in found}
        whole = sum([len(each[0]) for each in found]) == len(text)
        if not found or not whole or len(fields) != len(found):
            raise RecordError(f"not an audit record: {_problem(text)}")
        return cls(record_type, fields)


def _problem(text: str) -> str:
    """Return what is wrong with a text that is not a list of fields, or has a field twice."""
    position = 0
    seen: set[str] = set()
    while position < len(text):
        match = _FIELD.match(text, position)
        if match is None:
            return f"no field at byte {position} of {text[:200]!r}"
        if match[2] in seen:
            return f"it has the field {match[2]} twice"
        seen.add(match[2])
        position = match.end()
    return "it is empty"


def _encode(key: str, value: str | None) -> str:
    if value is None:
        return '"?"' if key in _QUOTED_WHEN_MISSING else "?"
    if key in ENCODED_FIELDS:
        if value != "?" and _PLAIN.fullmatch(value):
            return f'"{value}"'
        try:
            return value.encode("utf-8", "surrogateescape").hex().upper()
        except UnicodeEncodeError as exc:
            raise RecordError(
                f"the audit field {key} cannot hold {value!r}: it is no text"
            ) from exc
    if value == "?" or not _RAW.fullmatch(value):
        raise RecordError(f"the audit field {key} cannot hold {value!r}")
    return value


def decode(key: str, value: str) -> str | None:
    """Return the value that a field's text stands for, or ``None`` if the value is missing."""
    if value[:1] == '"':
        return None if value == '"?"' else value[1:-1]
    if value == "?":
        return None
    if key in ENCODED_FIELDS and _HEX.fullmatch(value):
        return bytes.fromhex(value).decode("utf-8", "surrogateescape")
    return value


def encode_outside(value: str) -> list[str]:
    """Return every form that a text from outside may have in a record. libvirt quotes more than this collection does."""
    encoded = value.encode("utf-8", "surrogateescape").hex().upper()
    return [encoded] if '"' in value else [f'"{value}"', encoded]


def known_id(number: str) -> int | None:
    """Return an auid or a session, or ``None`` if it is not set."""
    value = int(number)
    return None if value == _UNSET else value
