# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves that the records of a task are kept: the same daemon lives from beginning to end, and its log has the records.

An echo of the kernel proves less, because the kernel also echoes a record that a daemon with suspended logging
drops.
"""

from __future__ import annotations

import typing as t

from .._errors import AuditError, AuditLogError
from .daemon import Daemon
from .daemon_log import DaemonLog

if t.TYPE_CHECKING:
    from .netlink import Status
    from .record import Record

# The daemon writes at once, but a busy disk may take longer.
_DISK_SECONDS = 5.0


class Proof:
    """What is proved about one task's records.

    ``pending`` has the event ids of the records that the kernel echoed and that nobody has seen in the daemon's
    log yet. If the daemon's configuration says that it writes no log, ``writes_none`` says so in words.
    """

    def __init__(self) -> None:
        self.pending: dict[str, Record] = {}
        self.writes_none: str | None = None
        # The daemon, and the kernel's count of lost records, as they were when the task began.
        self._daemon: Daemon | None = None
        self._lost = 0
        self._log: DaemonLog | None = None
        self._unreadable: AuditLogError | None = None
        self._patience = _DISK_SECONDS

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    def require_kept(self, status: Status) -> None:
        """Require that records reach the daemon, and that the last one did.

        The first call also opens the daemon's log. Raises :class:`AuditError`.
        """
        daemon = _living_daemon(status)
        if self._daemon is None:
            self._open_log(daemon)
            self._daemon, self._lost = daemon, status.lost
        if daemon != self._daemon:
            raise AuditError(
                f"the audit daemon has changed since this task began (from pid {self._daemon.pid} to pid "
                f"{daemon.pid}): records that the first daemon had not written are lost"
            )
        if status.lost > self._lost:
            raise AuditError(
                f"the kernel has lost {status.lost - self._lost} records since this task began: the audit daemon hangs"
                " or the backlog is too small (see 'auditctl -s', raise it with 'auditctl -b')"
            )

    def require_written(self) -> None:
        """Require that the daemon's log has all pending records, and give the daemon some time for that.

        Raises :class:`AuditLogError`, and also raises it if nothing is pending and the log cannot be read.
        """
        if self._unreadable is not None:
            raise self._unreadable
        daemon, log = self._daemon, self._log
        if not self._look(0.0) or daemon is None or log is None:
            return
        # A daemon that has died writes no more.
        if Daemon.of(daemon.pid) == daemon and not self._look(self._patience):
            return
        # The task does not wait until the daemon writes again. It looks again later.
        self._patience = 0.0
        event, record = next(iter(self.pending.items()))
        raise AuditLogError(
            f"the audit daemon (pid {daemon.pid}) has not written {len(self.pending)} of this task's records to "
            f"{log.path}. The first of them is reason={record.what} (event {event}). The daemon has suspended its "
            f"logging ('kill -USR2 {daemon.pid}' resumes it), its disk is full, it hangs, or it has died"
        )

    def outstanding(self) -> bool:
        """Tell whether records are pending, after a last look into the log."""
        try:
            return self._look(0.0)
        except AuditLogError:
            return True

    def _look(self, seconds: float) -> bool:
        if self._log is None:
            # Either the daemon writes no log, and a warning says so, or the log cannot be read, and
            # that is another error.
            self.pending.clear()
        elif self.pending:
            self.pending = self._log.await_records(self.pending, seconds)
        return bool(self.pending)

    def _open_log(self, daemon: Daemon) -> None:
        path = daemon.log()
        if path is not None:
            try:
                self._log = DaemonLog(path)
            except AuditLogError as exc:
                self._unreadable = exc
            return
        self.writes_none = (
            f"the audit daemon is configured to write no log (write_logs or log_format in {daemon.configuration}). So "
            "it is proved that the kernel took each record, but not that the record was kept"
        )


def _living_daemon(status: Status) -> Daemon:
    """Return the daemon that is registered. Raises :class:`AuditError` if no living daemon gets the records."""
    if not status.enabled:
        raise AuditError("the kernel's auditing is disabled (enabled=0)")
    if not status.pid:
        raise AuditError(
            "no audit daemon is registered with the kernel, so no record reaches the disk"
        )
    # The kernel notices that a daemon was killed only when it sends to the daemon the next time.
    daemon = Daemon.of(status.pid)
    if daemon is None:
        raise AuditError(f"the audit daemon (pid {status.pid}) has died")
    return daemon
