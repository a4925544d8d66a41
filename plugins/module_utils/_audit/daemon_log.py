# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what the audit daemon has lately written to its log.

The daemon writes each record as soon as it gets it, whatever ``flush`` in ``auditd.conf(5)`` says. That option
is only about fsync(2). When the daemon rotates its log, it renames the file.
"""

from __future__ import annotations

import os
import re
import time
import typing as t

from .._errors import AuditLogError

if t.TYPE_CHECKING:
    from .record import Record

_LINE = re.compile(
    rb"(?:node=\S+ )?type=(?P<type>VIRT_\w+) msg=audit\((?P<event>[0-9.]+:[0-9]+)\): "
    # An enriched record has names after a group separator.
    rb"[^']*msg='(?P<text>[^']*)'(?:\x1d.*)?"
)
# To allocate a larger piece takes longer than to read it.
_BLOCK_BYTES = 1 << 16
# At the first look the daemon often has not run yet.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.00002, 0.01


class DaemonLog:
    """A log that is read from its present end on. Every method may raise :class:`AuditLogError`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = self._open(path)
        self._position = os.fstat(self._fd).st_size
        # The beginning of a line that the daemon has not finished.
        self._rest = b""

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def await_records(
        self, records: t.Mapping[str, Record], seconds: float
    ) -> dict[str, Record]:
        """Wait until the log has each of these records as a whole. Return those that are missing after ``seconds``.

        Event ids stand for the records.
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
        """Remove the records from ``missing`` that the daemon has written since the last look."""
        for line in self._new_lines():
            match = _LINE.fullmatch(line)
            if match is None:
                continue
            record = missing.get(match["event"].decode("ascii"))
            if record is not None and (match["type"], match["text"]) == (
                record.type.encode("ascii"),
                record.text().encode("ascii"),
            ):
                del missing[match["event"].decode("ascii")]
            if not missing:
                # The records of a task come in their order, so all following records are of other
                # programs.
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
        """Yield the whole lines from the place that was read last to the end of the file."""
        while True:
            block = os.pread(self._fd, _BLOCK_BYTES, self._position)
            if not block:
                return
            self._position += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            yield from lines

    def _follow(self) -> bool:
        """Go on in the next file, or at the beginning of a file that somebody emptied.

        Tell whether there is more to read.
        """
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
        """Return the path of the file that follows this one, or ``None`` if there is none yet."""
        newer: str | None = None
        number = 0
        while True:
            path = f"{self.path}.{number}" if number else self.path
            try:
                status = os.stat(path)
            except FileNotFoundError:
                # The daemon is rotating its log at this moment, or it has removed the file.
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
            f"the audit daemon's log {path} cannot be read ({exc.strerror or exc}), so nobody can see whether records "
            "reach the disk"
        )
