# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the records from the modules' results. It checks their shape, because a host can answer anything."""

from __future__ import annotations

import re
import typing as t

from ...module_utils._analysis.grants import network_of, whole_network
from ...module_utils._errors import OptionError
from ...module_utils._time import parse_time
from .ledger import parse_event

Data = t.Mapping[str, t.Any]
Severity = t.Literal["low", "medium", "high"]

_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high")
_NUMBER_LIMIT = 2**63
_TEXT = (str, type(None))
# Proves no absence.
_NOTHING = range(0)


class Record(t.NamedTuple):
    """A record as a module returned it, its shape checked.

    ``source`` is ``result`` (the module says that it sent it) or ``log`` (it was read back).
    """

    type: str
    event: str | None
    confirmed: bool
    fields: t.Mapping[str, str | None]
    auid: int | None
    ses: int | None
    pid: int | None
    node: str | None
    source: t.Literal["result", "log"]

    @property
    def vm(self) -> tuple[str | None, str | None]:
        """The UUID and name of its VM."""
        return self.fields.get("uuid"), self.fields.get("vm")

    @property
    def mac(self) -> str | None:
        """The NIC that it is about."""
        get = self.fields.get
        return get("net") or get("new-net") or get("old-net")

    @property
    def ticket(self) -> str | None:
        """Why the task was run, if it has a ticket."""
        return self.fields.get("ticket")

    @property
    def network(self) -> dict[str, str | None] | None:
        """What it says of the network that its NIC is on, after a change; ``None`` when it says nothing."""
        return whole_network(network_of(self.fields), network_of(self.fields, "new-"))


class Finding(t.NamedTuple):
    """A finding of vm_net_audit_info. Its shape is checked."""

    code: str
    severity: Severity
    message: str
    events: list[str]
    vm: str | None
    uuid: str | None
    mac: str | None


def sent_records(data: Data) -> tuple[list[Record], int] | None:
    """Return the records that a task sent, and the number of items that are not records.

    Return ``None`` if the answer has no list of records, because the module ended too early.
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
    """Return the records that a task read back, or ``None`` if the task did not ask for them."""
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
    # A record has twenty fields, and only a few types.
    if (
        isinstance(value, dict)
        and all(issubclass(kind, str) for kind in {*map(type, value)})
        and all(issubclass(kind, _TEXT) for kind in {*map(type, value.values())})
    ):
        return value
    return None


def _number(value: t.Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < _NUMBER_LIMIT else None


def _text(value: t.Any) -> str | None:
    return value if isinstance(value, str) else None


def read_findings(data: Data) -> tuple[list[Finding], int]:
    """Return what a task found, and how many of it have no such shape."""
    items = data.get("findings")
    if not isinstance(items, list):
        return [], 0
    good = [found for item in items if (found := _finding(item)) is not None]
    return good, len(items) - len(good)


def _finding(item: t.Any) -> Finding | None:
    if not isinstance(item, dict):
        return None
    code, message, events = (item.get(key) for key in ("code", "message", "events"))
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return None
    severity = next(
        (each for each in _SEVERITIES if each == item.get("severity")), None
    )
    if severity is None or not isinstance(message, str):
        return None
    if not isinstance(events, list) or not all(
        isinstance(event, str) and parse_event(event) for event in events
    ):
        return None
    about = (_text(item.get(key)) for key in ("vm", "uuid", "mac"))
    return Finding(code, severity, message, events, *about)


class Question(t.NamedTuple):
    """What vm_net_audit_info was asked. An event of ``covered``, in milliseconds, that it does not return is not there.

    ``uuids`` are the VMs that the answer is about, or ``None`` for all VMs. ``name`` is the name that they must have.
    """

    covered: range
    uuids: t.Collection[str] | None
    name: str | None


def question(data: Data) -> Question:
    """Return of which time, and of which VM, an answer has all records."""
    asked = data.get("asked")
    if not isinstance(asked, dict) or not asked:
        return Question(_NOTHING, None, None)
    uuid, name = _text(asked.get("uuid")), _text(asked.get("name"))
    uuids = None if uuid is None else {uuid}
    start: int | None = 0
    if uuid is not None or name is not None:
        # The module stops at the start of the last run. A name means only the VM that had it last.
        start, found = _last_run(data)
        uuids = uuids or found or None
        if start == 0 and asked.get("boot") is not None:
            start = _milliseconds(asked["boot"])
    stats = data.get("stats")
    unread = not isinstance(stats, dict) or stats.get("unread")
    narrow = asked.get("mac") or asked.get("until") or not asked.get("own_logs")
    since = asked.get("since")
    begin = start if since is None else _milliseconds(since)
    end = _milliseconds(asked.get("as_of"))
    if unread or narrow or begin is None or end is None:
        return Question(_NOTHING, uuids, name)
    # These were cut to a millisecond, so an event of that millisecond may have been before it.
    return Question(range(begin + 1, end), uuids, name)


def _last_run(data: Data) -> tuple[int, set[str]]:
    """Return the millisecond before the last run of the VM of an answer began, or 0, and the UUIDs in the answer.

    If the oldest record is not the start of a run, the module has found none, and has read on to the boot or to the
    beginning of the logs.
    """
    found = []
    for item in data["events"] if isinstance(data.get("events"), list) else ():
        record = _record(item, item, True, "log")
        event = None if record is None else parse_event(record.event or "")
        if record is not None and event is not None:
            found.append((event, record, item.get("uid")))
    uuids = {record.vm[0] or "" for _event, record, _uid in found}
    if not found:
        return 0, uuids
    event, record, uid = min(found, key=lambda each: each[0])
    starts = record.type == "VIRT_MACHINE_ID" and record.fields.get("res") == "success"
    return (event[0] - 1 if starts and uid == 0 else 0), uuids


def _milliseconds(text: t.Any) -> int | None:
    try:
        return round(parse_time("time", str(text)) * 1000)
    except OptionError:
        return None
