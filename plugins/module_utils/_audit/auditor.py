# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the records of one task in one of three modes, and remembers them."""

from __future__ import annotations

import typing as t

from .._errors import AuditError, AuditLogError, RecordError
from . import namespaces
from .mode import Mode
from .netlink import AuditSocket
from .problems import elsewhere, with_mend
from .proof import Proof
from .sent import Sent
from .task import run_of_environment

if t.TYPE_CHECKING:
    from .echo import Confirmation
    from .record import Record

# The kernel keeps 64 records for the daemon by default.
_AT_ONCE = 32


class Auditor:
    """Writes all records of a task. Use it as a context manager.

    With ``required`` it raises :class:`AuditError` unless it is proved that the kernel took a record and that
    the daemon has written it to its log. ``best_effort`` turns that into a warning, and ``off`` sends nothing.
    The auditor opens its sockets only when it needs them, so that a task that changes nothing leaves no
    EVENT_LISTENER record behind. ``missed`` tells that something has happened whose record is missing.
    ``ticket`` says why somebody runs the task. Each record has the ticket, and the id of the run of Ansible.
    """

    def __init__(self, mode: Mode, ticket: str | None = None) -> None:
        self.mode = mode
        self.ticket = ticket
        self._run = run_of_environment()
        self.daemon: int | None = None
        self.auid: int | None = None
        self.ses: int | None = None
        self.records: list[dict[str, t.Any]] = []
        self.warnings: list[str] = []
        self.missed = False
        self._socket: AuditSocket | None = None
        self._prepared = False
        self._listening = False
        self._proof = Proof()
        # First the records that were sent and whose fate is not known yet. Then those that were not written.
        self._sent: list[Sent] = []
        self._bad: list[tuple[Record, AuditError | RecordError]] = []

    def __enter__(self) -> Auditor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._socket is not None:
            self._socket.__exit__(*exc_info)
        self._proof.close()

    @property
    def unproved(self) -> dict[str, Record]:
        """Return the event ids of the records that must be proved, and that the last look into the daemon's log
        did not find.
        """
        return dict(self._proof.pending) if self.mode == "required" else {}

    def check(self) -> None:
        """Refuse to go on if a record sent now would not be kept, or if a record that was sent is not in the
        daemon's log.

        The code calls this before it opens anything, and again before it hands anything to qemu.
        """
        problem = self._problem()
        if problem is not None:
            self._refuse(problem)

    def prove(self) -> None:
        """Require that the daemon has written all records of this task to its log.

        The code calls this before it notes or returns that something is on record.
        """
        if not self._proof.pending:
            return
        try:
            self._proof.require_written()
        except AuditLogError as exc:
            self.missed |= self.mode == "required"
            self._fail(str(exc), exc)

    def prove_anyway(self) -> None:
        """Do the same at a point where the task can no longer refuse anything.

        A failure becomes a warning, see :attr:`unproved`.
        """
        try:
            self.prove()
        except AuditError as exc:
            self._warn(str(exc))

    def look(self) -> None:
        """Check this for a task that has nothing to record. A problem becomes a warning."""
        problem = self._problem()
        if problem is not None:
            self._warn(f"audit: {problem}. Nothing had to be recorded")

    def prepare(self) -> None:
        """Check, and start to listen for the echo of the records that the task will write."""
        self.check()
        self._prepared = True
        if self._proof.writes_none is not None:
            self._warn(f"audit: {self._proof.writes_none}")
        if self.mode == "off" or self._listening or namespaces.foreign():
            # With best_effort the task still sends the records, but does not wait for an echo that cannot come.
            return
        try:
            self._connect().listen()
            self._listening = True
        except AuditError as exc:
            self._refuse(exc)

    def write(self, record: Record) -> str | None:
        """Write one record. Return its event id, or ``None`` if the kernel did not confirm it."""
        return self.together([record])[0].event

    def together(self, records: t.Iterable[Record]) -> list[Sent]:
        """Write records in one go: send all, then wait for the kernel's echo of each."""
        sent = [self.send(record) for record in records]
        self.confirm()
        return sent

    def send(self, record: Record) -> Sent:
        """Send one record, and do not wait for the kernel's echo. :meth:`confirm` waits for it.

        If the record cannot be written, this method only notes the error, so that the records after it still get into the
        log. :meth:`confirm` raises the error.
        """
        if self.mode == "off":
            return Sent(record, good=True)
        sent = Sent(record.of_task(self.ticket, self._run))
        if not self._prepared:
            self.prepare()
        try:
            connection = self._connect()
            if self._listening:
                sent.number = connection.post(sent.record)
            else:
                # Only a task with best_effort gets here without an echo, and it has warned already.
                connection.send(sent.record)
        except (AuditError, RecordError) as exc:
            sent.problem = exc
        self._sent.append(sent)
        if len(self._sent) >= _AT_ONCE:
            self._settle()
        return sent

    def confirm(self) -> None:
        """Wait for the echo of each record that was sent since the last call.

        With ``required``, raise :class:`RecordError` if the only problem is that a record cannot be made into a text.
        """
        self._settle()
        bad, self._bad = self._bad, []
        bad.sort(key=lambda each: isinstance(each[1], RecordError))
        for record, problem in bad:
            self._fail(
                f"the record reason={record.what} was not written: {problem}", problem
            )

    def write_anyway(self, record: Record) -> str | None:
        """Write a record of something that has happened already, so that the task can no longer refuse it.

        The code uses this while it handles an error. A failure here becomes a warning beside that error.
        """
        try:
            return self.write(record)
        except (AuditError, RecordError) as exc:
            self._warn(str(exc))
            return None

    def add(self, other: Auditor) -> None:
        """Take over the records and warnings of another auditor."""
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
            kind = namespaces.foreign()
            if kind is not None:
                raise elsewhere(kind)
            self._require_kept()
            self._proof.require_written()
        except AuditError as exc:
            # If the daemon has died or hangs, records that it has not written must not count as
            # being on record.
            self.missed |= self._proof.outstanding() and self.mode == "required"
            return exc
        return None

    def _require_kept(self) -> None:
        status = self._connect().status()
        self.daemon = status.pid or None
        self._proof.require_kept(status)

    def _connect(self) -> AuditSocket:
        if self._socket is None:
            self._socket = AuditSocket()
        return self._socket

    def _settle(self) -> None:
        """Learn what became of the records that were sent."""
        sent, self._sent = self._sent, []
        if self._listening and any(each.problem is None for each in sent):
            self._await_echoes(sent)
        for each in sent:
            self._keep(each.record, each.confirmation)
            each.good = each.problem is None or self.mode != "required"
            self.missed |= not each.good
            if each.problem is not None:
                self._bad.append((each.record, each.problem))

    def _await_echoes(self, sent: t.Sequence[Sent]) -> None:
        """Store the echo of each record, or the reason why there is none."""
        found = self._connect().confirmations()
        for each in sent:
            answer = None if each.number is None else found.get(each.number)
            if isinstance(answer, AuditError):
                each.problem = answer
            elif answer is not None:
                each.confirmation = answer
                self._proof.pending[answer.event] = each.record
        try:
            # The kernel also echoes records that no daemon writes.
            self._require_kept()
        except AuditError as exc:
            for each in sent:
                each.confirmation, each.problem = None, each.problem or exc

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

    def _fail(self, message: str, problem: AuditError | RecordError) -> None:
        if self.mode == "required":
            if isinstance(problem, RecordError):
                raise RecordError(f"audit: {message}")
            raise AuditError(with_mend(message, problem))
        self._warn(f"audit: {message}")

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)
