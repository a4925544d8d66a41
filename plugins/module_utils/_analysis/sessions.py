# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""VM sessions, each from a start to a stop, in the way of ``auvirt(8)`` of audit 3. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._log.items import Alert
from .._log.parse import Logged, uuid_of
from .._time import iso
from .grants import network_of, whole_network

# failed: the start failed. lost: no stop is on record, and the VM was started again or the host
# booted.
End = t.Literal["running", "stopped", "failed", "lost"]

_DENIED = re.compile(r"avc:\s+(\w+)\s+\{ ([^{}]*) \}")
_FIELD = re.compile(r'\b([a-z_]+)=("[^"]*"|\S+)')


@dataclasses.dataclass
class Resource:
    """Something that a VM had for a while: a NIC with its MAC, a disk, memory. An open has ``path`` and ``dev``.

    A NIC has the ``network`` that it was on last, if its records say it.
    """

    type: str
    reason: str
    resource: str | None
    success: bool
    start: float
    event: str
    end: float | None = None
    path: str | None = None
    dev: str | None = None
    network: dict[str, str | None] | None = None

    def result(self) -> dict[str, t.Any]:
        """Return the module's value."""
        return {
            "type": self.type,
            "reason": self.reason,
            "resource": self.resource,
            "path": self.path,
            "dev": self.dev,
            "network": self.network,
            "success": self.success,
            "start": iso(self.start),
            "end": None if self.end is None else iso(self.end),
            "event": self.event,
        }


@dataclasses.dataclass
class Session:
    """One run of a VM. Times are in seconds since the epoch. ``user`` is the name of ``uid``.

    ``ticket`` is the ticket of its start.
    """

    node: str | None
    vm: str | None
    uuid: str
    start: float
    event: str
    uid: int
    user: str | None
    auid: int | None
    ses: int | None
    exe: str | None
    pid: int | None
    end: End = "running"
    stop: float | None = None
    stop_event: str | None = None
    reason: str | None = None
    ticket: str | None = None
    resources: list[Resource] = dataclasses.field(default_factory=list)
    alerts: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)

    @property
    def key(self) -> str:
        """Return a key that no other session has. Two hosts without a name may have the same event."""
        return f"{self.node} {self.event} {self.uuid}"

    @classmethod
    def of(cls, logged: Logged, resources: list[Resource]) -> Session:
        """Return the session that a VIRT_CONTROL op=start began, also if the start failed."""
        fields = logged.record.fields
        failed = fields.get("res") != "success"
        return cls(
            node=logged.node,
            vm=fields.get("vm"),
            uuid=uuid_of(logged) or "",
            start=logged.time,
            event=logged.event,
            uid=logged.uid,
            user=logged.user,
            auid=logged.auid,
            ses=logged.ses,
            exe=fields.get("exe"),
            pid=number(fields.get("vm-pid")) or None,
            end="failed" if failed else "running",
            ticket=fields.get("ticket"),
            resources=resources,
        )

    def close(self, end: End, logged: Logged | None) -> None:
        """Note how the session ended. Only a stop has a record."""
        self.end = end
        if logged is not None:
            self.stop, self.stop_event = logged.time, logged.event
            self.reason = logged.record.fields.get("reason")
            for resource in self.resources:
                if resource.end is None and resource.reason != "open":
                    resource.end = logged.time

    def result(self, details: bool) -> dict[str, t.Any]:
        """Return the module's value. Without ``details``, it has only the NICs among the resources."""
        shown = [
            each
            for each in self.resources
            if details or (each.type == "net" and each.reason != "open")
        ]
        return {
            "node": self.node,
            "vm": self.vm,
            "uuid": self.uuid,
            "user": self.user,
            "uid": self.uid,
            "auid": self.auid,
            "ses": self.ses,
            "exe": self.exe,
            "pid": self.pid,
            "start": iso(self.start),
            "stop": None if self.stop is None else iso(self.stop),
            "end": self.end,
            "reason": self.reason,
            "ticket": self.ticket,
            "events": [self.event] + ([self.stop_event] if self.stop_event else []),
            "resources": [each.result() for each in shown],
            "alerts": self.alerts,
        }


def number(text: str | None) -> int | None:
    """Return the number in a field, if there is one."""
    return int(text) if text and re.fullmatch(r"\d{1,10}", text, re.ASCII) else None


def take_resource(resources: list[Resource], logged: Logged) -> None:
    """Add what a VIRT_RESOURCE record gives to the VM, and end what it takes back."""
    fields = logged.record.fields
    kind, reason = fields.get("resrc") or "", fields.get("reason") or ""
    success = fields.get("res") == "success"
    old, new = fields.get(f"old-{kind}"), fields.get(f"new-{kind}")
    if kind == "net" and reason == "update" and success and not new:
        _take_move(resources, logged)
    if kind not in ("net", "cgroup") and new is None and old is None:
        # A device that the host passes through, a TPM, shared memory and an input device have one
        # field for both.
        named = fields.get("device") or fields.get("path")
        old, new = (named, None) if reason == "detach" else (None, named)
    if old and success:
        for known in reversed(resources):
            same = (known.type, known.resource, known.end) == (kind, old, None)
            if same and known.reason != "open":
                known.end = logged.time
                break
    if kind == "net" and reason == "open":
        new = fields.get("net")
    elif kind == "cgroup":
        new = fields.get("path") or fields.get("category") or fields.get("class")
    if new in (None, "", "0"):
        return
    resources.append(
        Resource(
            type=kind,
            reason=reason,
            resource=new,
            success=success,
            start=logged.time,
            event=logged.event,
            path=fields.get("path"),
            dev=fields.get("dev"),
            network=whole_network(network_of(fields)) if kind == "net" else None,
        )
    )


def _take_move(resources: list[Resource], logged: Logged) -> None:
    """Take an update, which puts a NIC on another network."""
    mac = logged.record.fields.get("net")
    changed = network_of(logged.record.fields, "new-")
    for known in reversed(resources):
        same = (known.type, known.resource, known.end) == ("net", mac, None)
        if changed and same and known.reason != "open":
            known.network = whole_network(known.network, changed)
            return


def seclevel(context: str | None) -> str | None:
    """Return the level and categories of a SELinux context, which only one VM has."""
    parts = (context or "").split(":", 3)
    return parts[3] if len(parts) == 4 else None


def alert_fields(alert: Alert) -> dict[str, str]:
    """Return the fields of an AVC or anomaly record."""
    return {key: value.strip('"') for key, value in _FIELD.findall(alert.text)}


def alert_result(alert: Alert, fields: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return the module's value for an AVC or anomaly record."""
    denied = _DENIED.search(alert.text)
    return {
        "type": alert.type,
        "time": iso(alert.time),
        "event": alert.event,
        "result": denied.group(1) if denied else fields.get("apparmor", "").lower(),
        "operation": denied.group(2) if denied else fields.get("operation"),
        "command": fields.get("comm"),
        "target": fields.get("name") or fields.get("dev"),
        "pid": number(fields.get("pid")),
    }
