# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a trail. Names are those of the Elastic Common Schema. Other names stand under ``virtaudit``.

https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html; docs/audit_trail.schema.json describes them.
"""

from __future__ import annotations

import functools
import ipaddress
import time
import typing as t

from ...module_utils._time import iso
from .ecs import file_of, message_of, related
from .ledger import parse_event
from .line import (
    END,
    START,
    Document,
)
from .records import Finding, Record
from .results import Task
from .run import Run

_ECS = {"version": "8.11.0"}
_MODULE = "virtaudit"
_DATASET = "virtaudit.trail"
_PROVIDER = "virtaudit.qemu.audit_trail"
# With this number the kernel says that nobody logged in.
_UNSET = 4294967295

# ECS allows these values of event.type for the event.category host.
_TYPES = {
    "open": "access",
    "prepare": "change",
    "close": "end",
    "start": "change",
    "attach": "change",
    "update": "change",
    "detach": "change",
    "vm_start": "start",
    "vm_stop": "end",
}
_OUTCOMES = {"success": "success", "failed": "failure"}
# ECS wants a number. Elastic's own rules use these numbers for the same words.
_SEVERITIES = {"low": 21, "medium": 47, "high": 73}

Gap = t.Literal["records_hidden", "records_unknown", "records_malformed"]


class Lines:
    """Makes the lines of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run.fields()
        self._inventory = run.inventory
        self._person = run.person
        self._host = {"name": run.controller}
        self._began = iso(run.began.timestamp())

    def opening(self) -> Document:
        """Return the first line."""
        ours = {"inventory": self._inventory}
        return self._own(self._began, START, "success", ours)

    def closing(
        self,
        summary: t.Mapping[str, t.Any],
        failure: str | None,
        broken_off: str | None = None,
    ) -> Document:
        """Return the last line: the counts, why lines are missing in the file, and what broke the run off."""
        outcome = "success" if failure is None and broken_off is None else "failure"
        ours = {"summary": summary, "failure": failure, "broken_off": broken_off}
        return self._own(_now(), END, outcome, ours)

    def record(self, task: Task, play: str | None, record: Record) -> Document:
        """Return the line of a record."""
        fields = record.fields
        action = _action(record)
        reason = fields.get("reason")
        now = _now()
        parsed = None if record.event is None else parse_event(record.event)
        event: Document = {
            "kind": "event",
            "category": ["host"],
            "type": [_TYPES.get(action, "info")],
            "action": action,
            "outcome": _OUTCOMES.get(fields.get("res") or "", "unknown"),
            "code": record.type,
            "created": now,
        }
        # A record without the kernel's id gets no other id.
        event["id"] = record.event
        if reason is not None:
            event["reason"] = reason
        document: Document = {
            "@timestamp": now if parsed is None else _iso(parsed[0]),
            "ecs": _ECS,
            "host": {"name": task.machine},
        }
        if record.node is not None:
            document["host"]["hostname"] = record.node
        auid = None if record.auid in (None, _UNSET) else str(record.auid)
        document["user"] = {"name": self._person}
        if auid is not None:
            document["user"]["id"] = auid
        document.update(_process(record))
        document.update(file_of(fields))
        if (address := fields.get("addr")) is not None:
            document["source"] = _source(address)
        users = [self._person, auid]
        hosts = [task.machine, record.node]
        document["related"] = related(users, hosts, document.get("source"))
        document["message"] = message_of(record)
        document["virtaudit"] = {
            **self._run,
            **_task(task, play),
            "source": record.source,
            "confirmed": record.confirmed,
            "vm": {"name": fields.get("vm"), "uuid": fields.get("uuid")},
            "mac": record.mac,
            "devices": _devices(fields),
            "fds": _numbers(fields.get("fds")),
            "network": record.network,
            "ticket": record.ticket,
            "result": fields.get("res"),
            "auid": record.auid,
            "ses": record.ses,
            "addr": address,
            "fields": fields,
        }
        return _closed(document, event)

    def finding(self, task: Task, play: str | None, finding: Finding) -> Document:
        """Return the line of a finding of vm_net_audit_info."""
        document: Document = {
            "@timestamp": _now(),
            "ecs": _ECS,
            "host": {"name": task.machine},
            "user": {"name": self._person},
            "related": related([self._person], [task.machine], None),
            "message": finding.message,
            "virtaudit": {
                **self._run,
                **_task(task, play),
                "vm": {"name": finding.vm, "uuid": finding.uuid},
                "mac": finding.mac,
                "severity": finding.severity,
                "events": finding.events,
            },
        }
        event: Document = {
            "kind": "alert",
            "category": ["host"],
            "type": ["info"],
            "action": finding.code,
            "outcome": "unknown",
            "severity": _SEVERITIES[finding.severity],
            "reason": finding.message,
        }
        return _closed(document, event)

    def gap(self, task: Task, play: str | None, gap: Gap, reason: str) -> Document:
        """Return a line that says that records may exist that the trail does not have."""
        now = _now()
        document: Document = {
            "@timestamp": now,
            "ecs": _ECS,
            "host": {"name": task.machine},
            "user": {"name": self._person},
            "message": reason,
            "virtaudit": {**self._run, **_task(task, play)},
        }
        event: Document = {
            "kind": "pipeline_error",
            "action": gap,
            "outcome": "unknown",
            "reason": reason,
        }
        return _closed(document, event)

    def _own(self, when: str, action: str, outcome: str, ours: Document) -> Document:
        document: Document = {
            "@timestamp": when,
            "ecs": _ECS,
            "host": self._host,
            "user": {"name": self._person},
            "virtaudit": {**self._run, **ours},
        }
        event = {"kind": "state", "action": action, "outcome": outcome}
        return _closed(document, event)


def _closed(document: Document, event: Document) -> Document:
    """Put the event last, because the chain needs it there."""
    ours = {"module": _MODULE, "dataset": _DATASET, "provider": _PROVIDER}
    return {**document, "event": {**event, **ours}}


def _now() -> str:
    return _iso(int(time.time() * 1000))


@functools.lru_cache(maxsize=64)
def _iso(milliseconds: int) -> str:
    return iso(milliseconds / 1000)


def _task(task: Task, play: str | None) -> Document:
    return {
        "play": play,
        "task": {"name": task.name, "path": task.path},
        "module": task.module,
        "inventory_host": task.inventory_host,
    }


def _action(record: Record) -> str:
    fields = record.fields
    if record.type == "VIRT_CONTROL":
        return f"vm_{fields.get('op') or 'unknown'}"
    return fields.get("reason") or record.type.lower()


def _process(record: Record) -> Document:
    process: Document = {}
    if record.pid is not None:
        process["pid"] = record.pid
    if (executable := record.fields.get("exe")) is not None:
        process["executable"] = executable
    return {"process": process} if process else {}


@functools.lru_cache(maxsize=1024)
def _source(address: str) -> Document:
    try:
        # A field of the type ip accepts no zone: Elasticsearch would refuse the whole line for fe80::1%eth0.
        ip = str(ipaddress.ip_address(address)).partition("%")[0]
        return {"address": address, "ip": ip}
    except ValueError:
        return {"address": address}


def _devices(fields: t.Mapping[str, str | None]) -> list[Document]:
    path = fields.get("path")
    if path is None:
        return []
    numbers = _numbers(fields.get("fd"))
    device = {"path": path, "rdev": fields.get("rdev"), "dev": fields.get("dev")}
    return [{**device, "fd": numbers[0] if len(numbers) == 1 else None}]


def _numbers(text: str | None) -> list[int]:
    # The host can write anything here. A value that is no number stands only in virtaudit.fields.
    words = (text or "").split(",")
    if all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        return [int(word) for word in words]
    return []
