# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members of a line that a SIEM searches by. They are made of the other members.

https://www.elastic.co/guide/en/ecs/current/ecs-related.html and ecs-file.html
"""

from __future__ import annotations

import typing as t

from .line import (
    Document,
)
from .records import Record


def related(
    users: t.Iterable[str | None],
    hosts: t.Iterable[str | None],
    source: t.Mapping[str, str] | None,
) -> Document:
    """Return all users, hosts and addresses of a line, each once."""
    found: Document = {
        "user": [user for user in dict.fromkeys(users) if user],
        "hosts": [host for host in dict.fromkeys(hosts) if host],
    }
    if source is not None and "ip" in source:
        found["ip"] = [source["ip"]]
    return found


def file_of(fields: t.Mapping[str, str | None]) -> Document:
    """Return the device as a file. Return nothing if the record names an interface, as libvirt does for a macvtap."""
    path = fields.get("path")
    if path is None or not path.startswith("/"):
        return {}
    return {"file": {"path": path, "type": "device"}}


def message_of(record: Record) -> str:
    """Return a record as one text to search and to read: its type, and its fields as auditd writes them."""
    fields = record.fields
    told = ["?" if value is None else value for value in fields.values()]
    # Most records need no quotes, and one look at all values is faster than a look at each.
    if not _is_bare("".join(told)):
        told = [_quoted(value) for value in told]
    return " ".join([record.type, *map("=".join, zip(fields, told))])


def _is_bare(text: str) -> bool:
    return _is_plain(text) and " " not in text


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and '"' not in text


def _quoted(value: str) -> str:
    if _is_bare(value):
        return value
    if _is_plain(value):
        return f'"{value}"'
    return value.encode("utf-8", "surrogatepass").hex().upper()
