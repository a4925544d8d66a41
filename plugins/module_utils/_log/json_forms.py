# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a line that is a JSON object.

The journal, laurel, or a collector that keeps the record in a string has written it.
"""

from __future__ import annotations

import json
import re
import typing as t

from .journal import Sender, boot_id_of, is_audit_tag, read_entry
from .json_fields import foreign_sender, holds_lines, host_of, strings, tag_of

# An entry of the journal has one of these fields.
_ENTRY = frozenset(("__REALTIME_TIMESTAMP", "__CURSOR", "_TRANSPORT"))
_VIRT = ("VIRT_CONTROL", "VIRT_RESOURCE", "VIRT_MACHINE_ID")
# A record, or a line with a syslog header before it.
_RECORD = re.compile(r"(?:node=\S{1,255} )?type=\S{1,40} (?:msg=)?audit\(\d", re.ASCII)
_NEWLINE = re.compile(r"\r?\n")
_EVENT = re.compile(r"\d{1,11}\.\d{1,3}:\d{1,20}", re.ASCII)
# A record of another type.
_OTHER = re.compile(r"(?!VIRT_)[A-Z][A-Z0-9_]+(?:\[\d+\])? ", re.ASCII)
_BROKEN = "the record in the journal's entry is broken"
_TIMELESS = "the journal's entry has no time; leave --output-fields out"
_OF_PROGRAM = "its tag is {!r}, and so another program than the audit system wrote it"
_OF_A_USER = "a user other than root sent it to the journal, so it proves nothing"
_FOREIGN_FIELD = (
    "a field that may have the text of a user has text that looks like a record: give the record in a field named message, "
    "or give the host's audit.log"
)


class Found(t.NamedTuple):
    """The lines that an object holds. ``host`` is the host that the object names beside them.

    ``sender`` is the user other than root who sent them, and ``boot_id`` is the boot in which the journal got them.
    """

    lines: t.Sequence[str] = ()
    host: str | None = None
    problem: str | None = None
    sender: Sender | None = None
    boot_id: str | None = None


def read_json(text: str) -> Found | None:
    """Read a line. Return ``None`` if it is no JSON object."""
    value = _load(text[text.find("{") : text.rfind("}") + 1])
    if value is None:
        value = _load(text.strip())
    if isinstance(value, list):
        return _list(value)
    return read_object(value) if isinstance(value, dict) else None


def _load(text: str) -> t.Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _list(values: list[t.Any]) -> Found | None:
    """Read a list of objects on one line, which a web service or a shipper answers with."""
    found = [read_object(value) for value in values if isinstance(value, dict)]
    read = [each for each in found if each is not None]
    if len(read) > 1:
        # The module reads the lines of root's entries together, so an entry of another user must not be among them.
        read = [_refused(each) if each.sender and each.lines else each for each in read]
    hosts = {each.host for each in read if each.lines}
    if len(hosts) > 1:
        return Found(
            problem="it has records of several hosts: put each on its own line"
        )
    problem = next((each.problem for each in read if each.problem), None)
    lines = [line for each in read for line in each.lines]
    host = next(iter(hosts), None)
    sender = next((each.sender for each in read if each.lines), None)
    return Found(lines, host, problem, sender) if lines or problem else None


def _refused(found: Found) -> Found:
    of_vm = any("VIRT_" in line for line in found.lines)
    return Found(problem=_OF_A_USER if of_vm else None)


def read_object(value: dict[str, t.Any]) -> Found | None:
    """Read an object. Return ``None`` if it holds no record."""
    found = _read(value)
    return found and found._replace(
        sender=foreign_sender(value), boot_id=boot_id_of(value)
    )


def _read(value: dict[str, t.Any]) -> Found | None:
    if not _ENTRY.isdisjoint(value):
        # A collector may have changed the name of the message.
        return _journal({"MESSAGE": value.get("message"), **value})
    if _EVENT.fullmatch(str(value.get("ID"))):
        if any(kind in value for kind in _VIRT):
            return _laurel(value)
        # laurel has no text of a whole record.
        return _texts(value, lambda _name: False)
    return _texts(value, holds_lines)


def _texts(value: dict[str, t.Any], holds: t.Callable[[str], bool]) -> Found | None:
    """Read the strings of the fields whose names say that they hold lines."""
    lines: dict[str, None] = {}
    problem = None
    for name, text in strings(value):
        parts = [part for part in _NEWLINE.split(text) if part.strip()]
        if not any(map(_RECORD.search, parts)):
            continue
        # The second line of a user's message may look like a record.
        whole = len(parts) == 1 or all(map(_RECORD.match, parts))
        if whole and holds(name):
            lines.update(dict.fromkeys(filter(_RECORD.search, parts)))
        elif "VIRT_" in text:
            problem = _FOREIGN_FIELD
    tag = tag_of(value)
    if lines and tag is not None and not is_audit_tag(tag):
        problem = _OF_PROGRAM.format(tag)
        return Found(
            problem=problem if any("VIRT_" in each for each in lines) else None
        )
    return Found(list(lines), host_of(value), problem) if lines or problem else None


def _once(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    """Refuse an object that names a field twice, because nothing tells which value counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a field twice")
    return found


def _journal(value: dict[str, t.Any]) -> Found:
    line, host = read_entry(value)
    if line is not None:
        return Found([line], host)
    message = value.get("MESSAGE")
    if isinstance(message, str) and _RECORD.match(message.removeprefix("audit: ")):
        # A dispatcher wrote the line, and not the kernel.
        tag = str(value.get("SYSLOG_IDENTIFIER"))
        if "audi" in tag or value.get("_TRANSPORT") == "kernel":
            return Found([message], value.get("_HOSTNAME"))
        return Found(problem=_OF_PROGRAM.format(tag))
    if value.get("_TRANSPORT") not in (None, "audit") or _OTHER.match(str(message)):
        return Found()
    if "VIRT_" in json.dumps(value):
        # Text that names a record of a VM and is not a record itself.
        return Found(
            problem=_TIMELESS if "__REALTIME_TIMESTAMP" not in value else _BROKEN
        )
    return Found()


def _laurel(value: dict[str, t.Any]) -> Found:
    lines = []
    for kind in _VIRT:
        entries = value.get(kind, [])
        for entry in entries if isinstance(entries, list) else [entries]:
            line = _laurel_line(kind, value["ID"], entry)
            if line is None:
                return Found(
                    problem="laurel's record does not have the message as text; give the host's audit.log"
                )
            lines.append(line)
    node = value.get("NODE")
    return Found(lines, node if isinstance(node, str) else None)


def _laurel_line(kind: str, event: str, entry: t.Any) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("msg"), str):
        return None
    said = [
        f"{key}={entry[key]}" for key in ("pid", "uid", "auid", "ses") if key in entry
    ]
    return f"type={kind} msg=audit({event}): {' '.join(said)} msg='{entry['msg'].strip(chr(39))}'"
