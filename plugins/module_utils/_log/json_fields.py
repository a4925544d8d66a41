# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells what the fields of a collector's JSON object hold. Pure.

An object has the line of a log in one field, and in others text that a user chose, such as the arguments of a program.
"""

from __future__ import annotations

import re
import typing as t

from .journal import Sender, sender_of

_MAX_DEPTH = 12
# The names of the fields in which collectors keep a line of a log, in small letters and without signs.
_LINES = re.compile(
    r"(?:raw|full|short|log|event|syslog)?(?:messages?|msg)|(?:full|raw|audit)?logs?|(?:raw|log)?lines?|raw(?:data|event)?"
    r"|(?:original|event|record|value)s?|entry|entries|(?:text)?payload|body|stringvalue|content|data|auditd?"
)
# Nothing below these fields is a line of a log.
_OF_USERS = ("process", "file", "user")
# The fields in which collectors keep the name that a program gives itself in syslog.
_TAGS = re.compile(
    r"program(?:name)?|app(?:lication)?name|ident|syslogtag|(?:syslog)?identifier"
)
_SIGNS = str.maketrans("", "", "_-@")
# Elasticsearch keeps a field a second time under these names.
_KINDS = ("text", "keyword")


def holds_lines(key: str) -> bool:
    """Tell whether a field with this key holds lines of a log."""
    return _LINES.fullmatch(_name(key)) is not None


def strings(
    value: t.Any, name: str = "", depth: int = 0
) -> t.Iterator[tuple[str, str]]:
    """Yield each string with the name of its field."""
    if isinstance(value, str):
        yield name, value
    elif depth < _MAX_DEPTH and isinstance(value, list):
        for each in value:
            yield from strings(each, name, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, dict):
        for key, each in value.items():
            below = name if name in _OF_USERS else _name(key)
            yield from strings(each, below, depth + 1)


def _name(key: str) -> str:
    """Return the name of a field. The key of a field may have the keys of the fields around it before its name."""
    parts = [part for part in key.lower().translate(_SIGNS).split(".") if part]
    outer = [part for part in parts if part in _OF_USERS]
    if outer:
        return outer[0]
    while len(parts) > 1 and parts[-1] in _KINDS:
        parts.pop()
    return parts[-1] if parts else ""


def _objects(value: t.Any, depth: int = 0) -> t.Iterator[dict[str, t.Any]]:
    """Yield an object, and then the objects that its fields hold."""
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        yield value
        for each in value.values():
            yield from _objects(each, depth + 1)


def tag_of(value: t.Any) -> str | None:
    """Return the name that the sender of a line gave itself in syslog, if a collector keeps it beside the line."""
    for each in _objects(value):
        for key, text in each.items():
            if isinstance(text, str) and _is_tag(_name(key), text):
                return text
    return None


def _is_tag(name: str, value: str) -> bool:
    # Other programs than syslog have tags too.
    return _TAGS.fullmatch(name) is not None or (name == "tag" and value.endswith(":"))


def foreign_sender(value: t.Any) -> Sender | None:
    """Return the user other than root whom an object names as the sender of an entry of the journal."""
    for each in _objects(value):
        # filebeat writes "journald": {"uid": 0}.
        journald = each.get("journald")
        given = journald if isinstance(journald, dict) else {}
        named = {"_UID": given["uid"]} if "uid" in given else {}
        sender = sender_of({**named, **each})
        if sender is not None:
            return sender
    return None


def host_of(value: dict[str, t.Any]) -> str | None:
    """Return the host that a collector names (Elastic Common Schema: host.name)."""
    host = value.get("host")
    if isinstance(host, dict):
        host = host.get("name") or host.get("hostname")
    host = host or value.get("hostname") or value.get("_HOSTNAME")
    return host if isinstance(host, str) and host else None
