# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the records of one task in one of three modes, and keeps what was written."""

from __future__ import annotations

import os
import typing as t

from .._errors import AuditError, AuditPermissionError, RecordError
from .mode import Mode
from .netlink import AuditSocket, Confirmation, Status
from .record import Record

_MEND = (
    "Start the audit daemon ('systemctl start auditd') and enable auditing ('auditctl -e 1'),"
    " or run the task with audit: best_effort if it may go on without proof."
)
_MEND_PERMISSION = "Run the task as root on the host itself (become: true), or with audit: best_effort."


class Auditor:
    """The one place through which a task writes records. Use it as a context manager.

    ``required`` raises :class:`AuditError` when a record is not proved to be on its way to
    a living daemon, ``best_effort`` turns that into a warning, ``off`` sends nothing.
    Sockets are opened at the first need, so that a task that changes nothing leaves no
    EVENT_LISTENER record behind. ``missed`` tells that a record of what has happened is missing.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.daemon: int | None = None
        self.auid: int | None = None
        self.ses: int | None = None
        self.records: list[dict[str, t.Any]] = []
        self.warnings: list[str] = []
        self.missed = False
        self._socket: AuditSocket | None = None
        self._prepared = False
        self._listening = False
        # The kernel's count of lost records when this task began.
        self._lost: int | None = None

    def __enter__(self) -> Auditor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._socket is not None:
            self._socket.__exit__(*exc_info)

    def check(self) -> None:
        """Refuse to go on when a record sent now would not land: auditing disabled, no living daemon."""
        problem = self._problem()
        if problem is not None:
            self._refuse(problem)

    def look(self) -> None:
        """Look at the same for a task that has nothing to record; what is wrong is a warning."""
        problem = self._problem()
        if problem is not None:
            self._warn(f"audit: {problem}. Nothing had to be recorded")

    def prepare(self) -> None:
        """Check, and listen for the echo of what will be written."""
        self.check()
        self._prepared = True
        if self.mode == "off" or self._listening:
            return
        try:
            self._connect().listen()
            self._listening = True
        except AuditError as exc:
            self._refuse(exc)

    def write(self, record: Record) -> str | None:
        """Write one record; return its event id, ``None`` when it is not confirmed."""
        if self.mode == "off":
            return None
        if not self._prepared:
            self.prepare()
        try:
            confirmation = self._send(record)
        except AuditError as exc:
            self._keep(record, None)
            self.missed = self.mode == "required"
            self._fail(f"the record reason={_what(record)} was not written: {exc}", exc)
            return None
        self._keep(record, confirmation)
        return confirmation.event if confirmation else None

    def write_anyway(self, record: Record) -> str | None:
        """Write a record of something that has happened already and cannot be refused any more.

        Used while an error is being handled: a failure here becomes a warning beside that error.
        """
        try:
            return self.write(record)
        except (AuditError, RecordError) as exc:
            self._warn(str(exc))
            return None

    def add(self, other: Auditor) -> None:
        """Take what another one wrote and has to say as this one's."""
        self.records += other.records
        if other.auid is not None:
            self.auid, self.ses = other.auid, other.ses
        for warning in other.warnings:
            self._warn(warning)

    def result(self) -> dict[str, t.Any]:
        """Return the module's ``audit`` value."""
        return {
            "mode": self.mode,
            "daemon": self.daemon,
            "auid": self.auid,
            "ses": self.ses,
            "records": self.records,
        }

    def _problem(self) -> AuditError | None:
        if self.mode == "off":
            return None
        try:
            status = self._connect().status()
            self.daemon = status.pid or None
            self._require_kept(status)
        except AuditError as exc:
            return exc
        return None

    def _require_kept(self, status: Status) -> None:
        """Refuse a state in which records do not reach the disk, the last one perhaps among them."""
        _require_ready(status)
        if self._lost is None:
            self._lost = status.lost
        if status.lost > self._lost:
            raise AuditError(
                f"the kernel has lost {status.lost - self._lost} records since this task began: the audit daemon hangs"
                " or the backlog is too small (see 'auditctl -s', raise it with 'auditctl -b')"
            )

    def _connect(self) -> AuditSocket:
        if self._socket is None:
            self._socket = AuditSocket()
        return self._socket

    def _send(self, record: Record) -> Confirmation | None:
        connection = self._connect()
        if self._listening:
            confirmation = connection.send_confirmed(record)
            # The kernel echoes as well what no daemon writes down.
            self._require_kept(connection.status())
            return confirmation
        # Only best_effort gets here without an echo, and has warned of it.
        connection.send(record)
        return None

    def _keep(self, record: Record, confirmation: Confirmation | None) -> None:
        if confirmation is not None:
            self.auid, self.ses = confirmation.auid, confirmation.ses
        self.records.append(
            {
                "type": record.type,
                "event": confirmation.event if confirmation else None,
                "confirmed": confirmation is not None,
                "fields": dict(record.fields),
            }
        )

    def _refuse(self, problem: AuditError) -> None:
        handed = ""
        if self.mode == "required":
            # Auditing may fail half way through the NICs.
            more = " more" if self.records else ""
            handed = f". Nothing{more} was handed to qemu"
        self._fail(f"{problem}{handed}", problem)

    def _fail(self, message: str, problem: AuditError) -> None:
        if self.mode == "required":
            mend = (
                _MEND_PERMISSION if isinstance(problem, AuditPermissionError) else _MEND
            )
            raise AuditError(f"audit: {message}. {mend}")
        self._warn(f"audit: {message}")

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


def _require_ready(status: Status) -> None:
    if not status.enabled:
        raise AuditError("the kernel's auditing is disabled (enabled=0)")
    if not status.pid:
        raise AuditError(
            "no audit daemon is registered with the kernel, so no record reaches the disk"
        )
    # The kernel notices a killed daemon only when it next sends to it.
    if not os.path.exists(f"/proc/{status.pid}"):
        raise AuditError(f"the audit daemon (pid {status.pid}) has died")


def _what(record: Record) -> str:
    fields = record.fields
    return str(fields.get("reason") or record.type)
