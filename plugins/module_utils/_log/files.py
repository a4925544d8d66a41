# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit daemon's log files: which there are, held open, read in blocks from either end.

Source: ``auditd.conf(5)``. A file is read as it was when it was opened: it may be rotated, grow
or shrink meanwhile. It is read and not mapped, since a mapped file that shrinks kills its reader.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import heapq
import os
import re
import stat
import typing as t
import zlib

# What a log that breaks off raises.
BROKEN = (OSError, EOFError, zlib.error)

_CONFIGURATION = "/etc/audit/auditd.conf"
_DEFAULT_LOG = "/var/log/audit/audit.log"
# By number, or by date (logrotate(8), dateext).
_ROTATION = r"(?:\.(\d{1,6})|[.-](\d{8,14}))"
_ROTATED = re.compile(rf"(.+?){_ROTATION}(?:\.gz)?", re.ASCII)
_OTHERS_PACKED = (".xz", ".bz2", ".zst")
_GZIP_MAGIC = b"\x1f\x8b"
_FIRST_EVENT = re.compile(rb"msg=audit\((\d{1,11}\.\d{1,3}):(\d{1,20})\)")
_HEAD_BYTES = 65536
_SPOOL_BYTES = 1 << 20
_ROTATION_TRIES = 5


@dataclasses.dataclass(frozen=True)
class Unread:
    """A log that could not be read, or not to its end. ``problem`` says why, in words."""

    path: str
    problem: str


class LogFile:
    """One log file, held open. ``size`` is in bytes, as it was when it was opened."""

    def __init__(self, path: str) -> None:
        """Open it. Raises :class:`OSError`."""
        self.path = path
        # A FIFO must not hang the task.
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(self._fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", path)
            self.size = status.st_size
            self.identity = (status.st_dev, status.st_ino)
            self.compressed = os.pread(self._fd, 2, 0) == _GZIP_MAGIC
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Give the file up."""
        os.close(self._fd)

    def head(self) -> bytes:
        """Return what it begins with; nothing when that cannot be read."""
        try:
            return next(self.blocks(_HEAD_BYTES), b"")
        except BROKEN:
            return b""

    def tail(self) -> bytes:
        """Return what it ends with; nothing of a compressed file. Raises :class:`OSError`."""
        position = max(0, self.size - _HEAD_BYTES)
        return b"" if self.compressed else self.read_at(position, _HEAD_BYTES)

    def first_event(self) -> tuple[float, int]:
        """Return time (seconds since the epoch) and serial number of its first record; zeros without one."""
        match = _FIRST_EVENT.search(self.head())
        return (float(match.group(1)), int(match.group(2))) if match else (0.0, 0)

    def blocks(self, size: int) -> t.Iterator[bytes]:
        """Yield the content in blocks of ``size`` bytes.

        Raises :class:`OSError`, and :class:`EOFError` or :class:`zlib.error` for a broken gzip file.
        """
        if self.compressed:
            import gzip

            with (
                open(os.dup(self._fd), "rb") as raw,
                gzip.GzipFile(fileobj=raw) as unpacked,
            ):
                raw.seek(0)
                while True:
                    block = unpacked.read(size)
                    if not block:
                        return
                    yield block
        position = 0
        while position < self.size:
            block = os.pread(self._fd, min(size, self.size - position), position)
            if not block:
                return
            position += len(block)
            yield block

    def read_at(self, position: int, size: int) -> bytes:
        """Return ``size`` bytes of a file that is not compressed. Raises :class:`OSError`."""
        return os.pread(self._fd, size, position)


def log_path() -> str:
    """Return the audit daemon's log file on this host."""
    return setting("log_file") or _DEFAULT_LOG


def setting(name: str) -> str:
    """Return an option of the audit daemon on this host (``auditd.conf(5)``), empty when it is not given."""
    option = re.compile(rf"^\s*{name}\s*=\s*(\S+)", re.MULTILINE | re.IGNORECASE)
    try:
        with open(_CONFIGURATION, encoding="utf-8", errors="replace") as handle:
            match = option.search(handle.read())
    except OSError:
        return ""
    return match.group(1) if match else ""


@contextlib.contextmanager
def host_logs() -> t.Iterator[tuple[list[LogFile], list[Unread]]]:
    """Open the host's log and its rotated files; return them oldest first, and those that cannot be read."""
    path = log_path()
    with contextlib.ExitStack() as stack:
        for _try in range(_ROTATION_TRIES):
            stack.close()
            files, unread = _open_all(_names(path), stack)
            # A rotation while they were opened would leave one out.
            if _still_there(path, files):
                break
        yield files, unread


@contextlib.contextmanager
def given_logs(
    paths: t.Sequence[str],
) -> t.Iterator[tuple[list[LogFile], list[Unread]]]:
    """Open logs by their paths; return them oldest first."""
    with contextlib.ExitStack() as stack:
        files, unread = _open_all(paths, stack)
        for log in files:
            head = log.head()
            if head and _FIRST_EVENT.search(head) is None:
                unread.append(
                    Unread(log.path, "it does not begin with an audit record")
                )
        yield files, unread


def spool() -> t.IO[bytes]:
    """Return a temporary file that is on disk only when it is large."""
    import tempfile

    return t.cast(t.IO[bytes], tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))


def _names(path: str) -> t.Iterator[str]:
    """Yield the names of a log and its rotated files, which are listed only when the log is open already."""
    yield path
    yield from _rotated(path)


def _rotated(path: str) -> list[str]:
    """Return the rotated files."""
    directory, name = os.path.split(path)
    pattern = re.compile(
        rf"{re.escape(name)}{_ROTATION}(?:\.gz|\.xz|\.bz2|\.zst)?", re.ASCII
    )
    with contextlib.suppress(OSError):
        names = sorted(filter(pattern.fullmatch, os.listdir(directory or ".")))
        return [os.path.join(directory, name) for name in names]
    return []


def _open_all(
    paths: t.Iterable[str], stack: contextlib.ExitStack
) -> tuple[list[LogFile], list[Unread]]:
    """Open each file once, whatever names lead to it; return them oldest first."""
    files: list[LogFile] = []
    unread: list[Unread] = []
    for path in paths:
        if path.endswith(_OTHERS_PACKED):
            unread.append(Unread(path, "only gzip is unpacked"))
            continue
        try:
            log = LogFile(path)
        except OSError as exc:
            unread.append(Unread(path, exc.strerror or str(exc)))
            continue
        stack.callback(log.close)
        if all(known.identity != log.identity for known in files):
            files.append(log)
    return _oldest_first(files), unread


def _oldest_first(files: t.Iterable[LogFile]) -> list[LogFile]:
    """Order the rotations of each log among themselves, and those of several logs by their first records."""
    series: dict[tuple[str, bool], list[tuple[int, str, LogFile]]] = {}
    for log in files:
        path = os.path.abspath(log.path)
        # audit.log.1 is newer than audit.log.2, and older than audit.log.
        match = _ROTATED.fullmatch(path)
        base, number, date = match.groups() if match else (path, None, None)
        place = (-int(number or 0), date or "", log)
        series.setdefault((base, date is not None), []).append(place)
    ordered = [
        [log for _number, _date, log in sorted(places, key=lambda each: each[:2])]
        for places in series.values()
    ]
    # The clock may have been set back meanwhile, so time has no say within one.
    return (
        ordered[0]
        if len(ordered) == 1
        else list(heapq.merge(*ordered, key=LogFile.first_event))
    )


def _still_there(path: str, files: t.Sequence[LogFile]) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return True
    return any(log.identity == (status.st_dev, status.st_ino) for log in files)
