# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what the audit daemon has lately written to its log.

The daemon writes each record by itself as soon as it gets it, whatever ``flush`` in
``auditd.conf(5)`` says: that is about fsync(2). It renames its log when it rotates it.
"""

from __future__ import annotations

import os
import re
import time
import typing as t

from .._errors import AuditLogError

if t.TYPE_CHECKING:
    from .record import Record

# Compiled at its first use: a task that changes nothing writes no record.
_LINE = (
    rb"(?:node=\S+ )?type=(?P<type>VIRT_\w+) msg=audit\((?P<event>[0-9.]+:[0-9]+)\): "
    # An enriched record has names after a group separator.
    rb"[^']*msg='(?P<text>[^']*)'(?:\x1d.*)?"
)
# A larger piece takes longer to allocate than to read.
_BLOCK_BYTES = 1 << 16
# The first look often comes before the daemon has run.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.00002, 0.01


class DaemonLog:
    """A log that is read from its present end on. Every method can raise :class:`AuditLogError`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = self._open(path)
        self._position = os.fstat(self._fd).st_size
        # A line whose end is not there yet.
        self._rest = b""

    def close(self) -> None:
        """Give the file up."""
        os.close(self._fd)

    def await_records(
        self, records: t.Mapping[str, Record], seconds: float
    ) -> dict[str, Record]:
        """Wait until records are in the log, each as a whole. Return those that are missing after ``seconds``.

        Records are named by their event ids.
        """
        missing = dict(records)
        deadline = time.monotonic() + seconds
        pause = _FIRST_WAIT_SECONDS
        while True:
            self._strike_out(missing)
            left = deadline - time.monotonic()
            if not missing or left <= 0:
                return missing
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_WAIT_SECONDS)

    def _strike_out(self, missing: dict[str, Record]) -> None:
        """Remove from ``missing`` the records that the daemon has written since the last look."""
        for line in self._new_lines():
            match = re.fullmatch(_LINE, line)
            if match is None:
                continue
            record = missing.get(match["event"].decode("ascii"))
            if record is not None and (match["type"], match["text"]) == (
                record.type.encode("ascii"),
                record.text().encode("ascii"),
            ):
                del missing[match["event"].decode("ascii")]
            if not missing:
                # The following records are of others, because the records of a task come in their order.
                return

    def _new_lines(self) -> t.Iterator[bytes]:
        try:
            while True:
                yield from self._read_on()
                if not self._follow():
                    return
        except OSError as exc:
            raise self._unreadable(self.path, exc) from exc

    def _read_on(self) -> t.Iterator[bytes]:
        """Yield the whole lines from the last place that was read to the end of the file."""
        while True:
            block = os.pread(self._fd, _BLOCK_BYTES, self._position)
            if not block:
                return
            self._position += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            yield from lines

    def _follow(self) -> bool:
        """Go on in the next file, or at the begin of one that was emptied; tell whether there is more to read."""
        status = os.fstat(self._fd)
        if status.st_size < self._position:
            self._position, self._rest = 0, b""
            return True
        newer = self._newer((status.st_dev, status.st_ino))
        if newer is None:
            return False
        # Lines that the daemon wrote between the last look and the rotation.
        if os.fstat(self._fd).st_size > self._position:
            return True
        fd = self._open(newer)
        os.close(self._fd)
        self._fd, self._position, self._rest = fd, 0, b""
        return True

    def _newer(self, mine: tuple[int, int]) -> str | None:
        """Return the path of the file that came after this one, ``None`` while there is none."""
        newer: str | None = None
        number = 0
        while True:
            path = f"{self.path}.{number}" if number else self.path
            try:
                status = os.stat(path)
            except FileNotFoundError:
                # The daemon rotates its log at this moment, or has removed the file.
                return newer if number else None
            if (status.st_dev, status.st_ino) == mine:
                return newer
            newer = path
            number += 1

    @classmethod
    def _open(cls, path: str) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            raise cls._unreadable(path, exc) from exc

    @staticmethod
    def _unreadable(path: str, exc: OSError) -> AuditLogError:
        return AuditLogError(
            f"the audit daemon's log {path} cannot be read ({exc.strerror or exc}), so it cannot be seen whether records"
            " reach the disk"
        )
