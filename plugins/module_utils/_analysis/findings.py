# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings: what should not be, in the trail or on the host. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from .._time import iso

Code = t.Literal[
    "unclaimed_open",
    "failed_open",
    "failed_start",
    "failed_detach",
    "unrecorded_open",
    "unrecorded_fd",
    "stale_grant",
    "leaked_device",
    "audit_lost",
    "failed_prepare",
    "moved_port",
    "missing_filter",
    "untrusted_record",
    "unread_records",
]
Severity = t.Literal["high", "medium", "low"]

SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
# How many events a finding names at most, because the result must not grow with the log.
_MAX_EVENTS = 20
# A user who can write audit records chooses the VMs in them. One more finding stands for all others.
_MAX_UNTRUSTED = 100


@dataclasses.dataclass
class Finding:
    """One thing that should not be, and the ``events`` that it rests on.

    ``message`` tells an operator what was found, what it means and what to do. ``time`` is when it came up
    first and ``last`` when it came up last, in seconds since the epoch. ``outcome`` says what came of it, if
    that is known. ``many`` tells that it stands for the findings about many VMs.
    """

    code: Code
    severity: Severity
    message: str
    time: float
    events: list[str] = dataclasses.field(default_factory=list)
    node: str | None = None
    vm: str | None = None
    uuid: str | None = None
    mac: str | None = None
    dev: str | None = None
    path: str | None = None
    pid: int | None = None
    fd: int | None = None
    exe: str | None = None
    auid: int | None = None
    count: int = 1
    last: float = 0.0
    outcome: str | None = None
    many: bool = False

    def key(self) -> tuple[object, ...]:
        """Return the key by which two findings are the same."""
        return (
            self.code,
            self.node,
            self.uuid,
            self.mac,
            self.dev,
            self.path,
            self.pid,
            self.fd,
            self.exe,
            self.many,
        )

    def settle(self, how: str) -> None:
        """Note that the finding is over, and why."""
        self.severity, self.outcome = "low", how

    def result(self) -> dict[str, t.Any]:
        """Return the module's value."""
        message = self.message
        if self.count > 1:
            message += (
                f" It came up {self.count} times, the last time {iso(self.last)}."
            )
        if self.outcome:
            message += f" {self.outcome}"
        shown = ("node", "vm", "uuid", "mac", "dev", "path", "pid", "fd", "exe", "auid")
        return {
            "code": self.code,
            "severity": self.severity,
            "message": message,
            "time": iso(self.time),
            "events": self.events,
            **{name: getattr(self, name) for name in shown},
        }


class Findings:
    """All findings. A finding that comes back is counted, and a finding that is older than ``since`` is left out."""

    def __init__(self, since: float | None = None) -> None:
        self._since = since
        self._found: dict[tuple[object, ...], Finding] = {}
        self._untrusted = 0

    def add(self, finding: Finding) -> Finding:
        """Add a finding. Return the one that stands for it."""
        if self._since is not None and finding.time < self._since:
            return finding
        if finding.code == "untrusted_record" and finding.key() not in self._found:
            finding = self._bounded(finding)
        known = self._found.setdefault(finding.key(), finding)
        if known is finding:
            known.last = finding.time
            return known
        if finding.events and set(finding.events) <= set(known.events):
            # The same record was read twice, from a copy of a log.
            return known
        known.count += 1
        known.last = max(known.last, finding.time)
        # This is also true of a finding that was over.
        known.severity = min(known.severity, finding.severity, key=SEVERITIES.index)
        known.outcome = None
        room = _MAX_EVENTS - len(known.events)
        known.events += finding.events[: max(0, room)]
        return known

    def _bounded(self, finding: Finding) -> Finding:
        """Return a new finding about a record that a user other than root sent, or the one that stands for many."""
        self._untrusted += 1
        if self._untrusted <= _MAX_UNTRUSTED:
            return finding
        message = (
            f"{finding.message} This finding stands for all further records of that kind, because they are about more "
            f"than {_MAX_UNTRUSTED} VMs."
        )
        return dataclasses.replace(
            finding, message=message, node=None, vm=None, uuid=None, many=True
        )

    def all(self) -> list[Finding]:
        """Return them, the worst first and among those the oldest first."""
        return sorted(
            self._found.values(),
            key=lambda each: (SEVERITIES.index(each.severity), each.time),
        )
