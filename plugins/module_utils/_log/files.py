# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the log files of the audit daemon, holds them open, and reads them in blocks from either end.

Source: ``auditd.conf(5)``. A file is read up to the size that it had when it was opened, because the daemon may
rotate, extend or shrink it meanwhile. The file is not mapped into memory, because a mapped file that shrinks
kills its reader.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import typing as t

from .auditd_conf import log_path
from .clock import Clock
from .packed import MAGIC_BYTES, Packing, packing_of, unpacked
from .rotations import oldest_first, rotated
from .unread import Unread

if t.TYPE_CHECKING:
    from .within import Hidden

# The exceptions that mean that a log breaks off.
BROKEN = (OSError,)

_PACKED = re.compile(r"\.(?:gz|xz|bz2|zst)\Z")
_FIRST_EVENT = re.compile(rb"msg=audit\((\d{1,11}\.\d{1,3}):(\d{1,20})\)")
_HEAD_BYTES = 65536
_SPOOL_BYTES = 1 << 20
_SEARCH_BYTES = 1 << 21
_ROTATION_TRIES = 5


class LogFile:
    """One log file, held open. ``size`` is its size in bytes when it was opened.

    ``clock`` completes the times of lines that have only a part of their time.
    """

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
                raise OSError(errno.EINVAL, "it is not a regular file", path)
            self._begin, self.size = 0, status.st_size
            self.identity: tuple[int, ...] = (status.st_dev, status.st_ino)
            self._look(status.st_mtime)
        except BaseException:
            os.close(self._fd)
            raise

    def _look(self, written: float) -> None:
        self.clock = Clock(written)
        self._hidden: Hidden | None = None
        self._packing = packing_of(self._read_at(0, MAGIC_BYTES))
        self.compressed = self._packing is not None
        # The time and number of the first record, if the log has another form than auditd's.
        self.begins: tuple[float, int] | None = None
        # Whether its lines have the form that auditd writes, judged from its beginning.
        self.plain = True
        # The hosts in the first records of a log in another form than auditd's.
        self.hosts: t.Collection[str | None] = ()
        self.newest_first = False
        # Whether its lines name the files that grep took them from.
        self.grepped = False
        self._tail: bytes | None = None
        self._head: bytes | None = None

    def part(self, path: str, begin: int, size: int, written: float) -> LogFile:
        """Return a part of this file, as a log of its own."""
        part = LogFile.__new__(LogFile)
        part.path, part._fd = path, os.dup(self._fd)
        part._begin, part.size = self._begin + begin, size
        part.identity = (*self.identity, begin)
        part._look(written)
        return part

    def close(self) -> None:
        """Give the file up."""
        os.close(self._fd)

    def hide(self) -> None:
        """Look for parts that are not lines of the log, and hide them in all later reads."""
        # The import is here because auditd's own log does not need it.
        from .within import find_hidden

        self._hidden = find_hidden(self._readable())
        self._head = None

    def _readable(self) -> t.Iterator[bytes]:
        """Yield the unchanged content up to the place where the log breaks off. The later reading of the log reports that place."""
        with contextlib.suppress(*BROKEN):
            yield from self._blocks(_SEARCH_BYTES)

    def fd(self) -> int:
        """Return its file descriptor."""
        return self._fd

    def head(self) -> bytes:
        """Return the beginning of the content. It is empty if it cannot be read."""
        if self._head is None:
            self._head = b""
            try:
                for block in self.blocks(_HEAD_BYTES):
                    self._head += block[: _HEAD_BYTES - len(self._head)]
                    if len(self._head) >= _HEAD_BYTES:
                        break
            except BROKEN:
                # The code that reads all of the file reports the error.
                pass
        return self._head

    def tail(self) -> bytes:
        """Return the end of the content. The end of a packed file is known only after all of it was read.

        Raises :class:`OSError`.
        """
        if self.compressed:
            return self._tail or b""
        position = max(0, self.size - _HEAD_BYTES)
        return self.read_at(position, _HEAD_BYTES)

    def first_event(self) -> tuple[float, int]:
        """Return time (seconds since the epoch) and serial number of the first record, or zeros if there is none."""
        if self.begins is not None:
            return self.begins
        match = _FIRST_EVENT.search(self.head())
        return (float(match.group(1)), int(match.group(2))) if match else (0.0, 0)

    def blocks(self, size: int) -> t.Iterator[bytes]:
        """Yield the content in blocks, which have ``size`` bytes if the file is not packed.

        Raises :class:`OSError`. If a packed file breaks off, all that could be unpacked comes before the error.
        """
        tail, position = b"", 0
        for block in self._blocks(size):
            shown = self._shown(block, position)
            position += len(block)
            if self.compressed:
                tail = (tail + shown)[-_HEAD_BYTES:]
            yield shown
        self._tail = tail

    def _shown(self, content: bytes, position: int) -> bytes:
        hidden = self._hidden
        return content if hidden is None else hidden.hide(content, position)

    def _blocks(self, size: int) -> t.Iterator[bytes]:
        """Yield the content as it is."""
        if self._packing is not None:
            yield from self._unpacked(self._packing)
            return
        position = 0
        while position < self.size:
            block = self._read_at(position, size)
            if not block:
                return
            position += len(block)
            yield block

    def _unpacked(self, packing: Packing) -> t.Iterator[bytes]:
        # The program that unpacks the file reads it from its beginning.
        fd = -1 if self._begin else self._fd
        return unpacked(packing, self._read_at, self.size, fd)

    def read_at(self, position: int, size: int) -> bytes:
        """Return ``size`` bytes of a file that is not packed. Raises :class:`OSError`."""
        return self._shown(self._read_at(position, size), max(0, position))

    def _read_at(self, position: int, size: int) -> bytes:
        size = max(0, min(size, self.size - position))
        return os.pread(self._fd, size, self._begin + position)

    def line_number(self, offset: int) -> int | None:
        """Return the number of the line that begins at ``offset`` of the content; ``None`` when it cannot be read."""
        number, position = 1, 0
        try:
            for block in self._blocks(_HEAD_BYTES):
                number += block.count(b"\n", 0, max(0, offset - position))
                position += len(block)
                if position >= offset:
                    return number
        except BROKEN:
            return None
        return number


@contextlib.contextmanager
def host_logs() -> t.Iterator[tuple[list[LogFile], Unread]]:
    """Open the host's log and its rotated files; return them oldest first, and those that cannot be read."""
    path = log_path()
    with contextlib.ExitStack() as stack:
        for _try in range(_ROTATION_TRIES):
            stack.close()
            unread = Unread()
            files = oldest_first(open_all(_names(path), stack, unread))
            # If the daemon rotated its logs in the meantime, one of them would be left out.
            if _still_there(path, files):
                break
        yield files, unread


def spool() -> t.IO[bytes]:
    """Return a temporary file that stays in memory while it is small."""
    import tempfile

    return t.cast(t.IO[bytes], tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))


def _names(path: str) -> t.Iterator[str]:
    """Yield the names of a log and then of its rotated files, which are listed only after the caller has opened
    the log.
    """
    yield path
    yield from rotated(path)


def open_all(
    paths: t.Iterable[str], stack: contextlib.ExitStack, unread: Unread
) -> list[LogFile]:
    """Open each file once, even if several names lead to it. Add those that cannot be opened to ``unread``."""
    files: list[LogFile] = []
    for path in paths:
        try:
            log = LogFile(path)
        except OSError as exc:
            unread.log(path, exc.strerror or str(exc))
            continue
        stack.callback(log.close)
        suffix = _PACKED.search(path)
        misnamed = suffix is not None and log.size and not log.compressed
        if suffix and misnamed and not _FIRST_EVENT.search(log.head()):
            unread.log(
                path,
                f"its name ends in {suffix[0]}, but its content is not packed that way",
            )
            continue
        if all(known.identity != log.identity for known in files):
            files.append(log)
    return files


def _still_there(path: str, files: t.Sequence[LogFile]) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return True
    return any(log.identity == (status.st_dev, status.st_ino) for log in files)
