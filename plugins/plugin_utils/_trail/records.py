# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the records out of our modules' results, believing no host that they are what they should be."""

from __future__ import annotations

import re
import typing as t

from ...module_utils._errors import OptionError
from ...module_utils._time import parse_time
from .ledger import parse_event
from .lines import Record

Data = t.Mapping[str, t.Any]

_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
_NUMBER_LIMIT = 2**63


def sent_records(data: Data) -> tuple[list[Record], int] | None:
    """Return the records that a task sent, and how many have no such shape.

    ``None`` when the answer does not say: the module ended before it could.
    """
    audit = data.get("audit")
    if not isinstance(audit, dict) or not isinstance(audit.get("records"), list):
        return None
    good: list[Record] = []
    for item in audit["records"]:
        record = _record(item, audit, None, "result")
        if record is not None:
            good.append(record)
    return good, len(audit["records"]) - len(good)


def read_records(data: Data) -> tuple[list[Record], int] | None:
    """Return the records that a task read back. ``None`` when it was not asked for them."""
    events = data.get("events")
    if not isinstance(events, list):
        return None
    good = []
    for item in events:
        record = _record(item, item, True, "log")
        if record is not None and record.event is not None:
            good.append(record)
    return good, len(events) - len(good)


def _record(
    item: t.Any,
    sender: t.Any,
    confirmed: bool | None,
    source: t.Literal["result", "log"],
) -> Record | None:
    if not isinstance(item, dict):
        return None
    fields = _fields(item.get("fields"))
    if fields is None:
        return None
    event = item.get("event")
    if event is not None and (not isinstance(event, str) or not parse_event(event)):
        return None
    if confirmed is None:
        confirmed = item.get("confirmed")
    if confirmed is not (event is not None):
        return None
    record_type = item.get("type")
    if not isinstance(record_type, str) or not _TYPE.fullmatch(record_type):
        return None
    return Record(
        type=record_type,
        event=event,
        confirmed=confirmed,
        fields=fields,
        auid=_number(sender.get("auid")),
        ses=_number(sender.get("ses")),
        pid=_number(item.get("pid")),
        node=_text(item.get("node")),
        source=source,
    )


def _fields(value: t.Any) -> dict[str, str | None] | None:
    if isinstance(value, dict) and all(
        isinstance(key, str) and (each is None or isinstance(each, str))
        for key, each in value.items()
    ):
        return value
    return None


def _number(value: t.Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < _NUMBER_LIMIT else None


def _text(value: t.Any) -> str | None:
    return value if isinstance(value, str) else None


class Question(t.NamedTuple):
    """What vm_net_audit_info was asked: ``since`` in milliseconds, or ``None`` when the answer is only a part."""

    since: int | None
    uuid: str | None
    name: str | None


def question(data: Data) -> Question:
    """Return from where on, and of which VM, an answer has all records."""
    asked = data.get("asked")
    if not isinstance(asked, dict) or not asked:
        return Question(None, None, None)
    uuid, name = _text(asked.get("uuid")), _text(asked.get("name"))
    stats = data.get("stats")
    unread = not isinstance(stats, dict) or stats.get("unread")
    narrow = asked.get("mac") or asked.get("until") or not asked.get("own_logs")
    in_part = narrow or unread
    return Question(None if in_part else _since(asked.get("since")), uuid, name)


def _since(text: t.Any) -> int | None:
    if text is None:
        return 0
    try:
        # It was cut to a millisecond: an event of that one may have been before it.
        return round(parse_time("since", str(text)) * 1000) + 1
    except OptionError:
        return None
