# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trail file of a run, while it is written."""

from __future__ import annotations

import datetime
import os
import stat
import typing as t

from ...module_utils._errors import VirtauditError
from .chain import END, GENESIS, NAME, BrokenError, Document, is_state, seal, unseal

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TrailError(VirtauditError):
    """The trail cannot be written."""


class TrailFile:
    """An open trail file: mode 0600, only appended to, each line chained to the one before.

    Lines go to the kernel whole and at once, as Ansible's workers are forks: what stood in a
    buffer of this process, each of them could write again.
    """

    def __init__(self, directory: str, run: str, began: datetime.datetime) -> None:
        """Make it. Raises :class:`TrailError` when the directory is not ours alone or cannot be written."""
        name = f"{began.strftime('%Y%m%dT%H%M%S.%fZ')}-{run}.jsonl"
        self.path = os.path.join(directory, name)
        self.lines = 0
        self._size = 0
        try:
            self._directory = _open_directory(directory)
            try:
                self.previous = _previous(self._directory)
                self._fd = os.open(name, _NEW, 0o600, dir_fd=self._directory)
            except BaseException:
                os.close(self._directory)
                raise
        except OSError as exc:
            raise TrailError(f"{self.path} cannot be made: {exc.strerror}") from exc
        self.head = str(self.previous["hash"])

    def append(self, documents: t.Iterable[Document]) -> None:
        """Write one line for each. ``event.sequence`` and the link to the line before are added.

        Raises :class:`TrailError`; the file then ends with the last line that could be written whole.
        """
        lines, heads = [], []
        head = self.head
        for number, document in enumerate(documents, self.lines + 1):
            previous = self.previous if number == 1 else {"hash": head}
            ours = {**document["virtaudit"], "previous": previous}
            event = {**document["event"], "sequence": number}
            line, head = seal({**document, "virtaudit": ours, "event": event})
            lines.append(line)
            heads.append(head)
        written, problem = self._write(b"".join(lines))
        for line, head in zip(lines, heads):
            written -= len(line)
            if written < 0:
                break
            self._size += len(line)
            self.lines, self.head = self.lines + 1, head
        if problem is not None:
            self._cut()
            raise TrailError(
                f"{self.path} cannot be written: {problem.strerror}"
            ) from problem

    def close(self, closing: Document | None) -> None:
        """Write the closing line, if there is one, and see all of it to the disk. Raises :class:`TrailError`."""
        try:
            if closing is not None:
                self.append([closing])
            os.fsync(self._fd)
            os.fsync(self._directory)
        except OSError as exc:
            raise TrailError(f"{self.path} cannot be written: {exc.strerror}") from exc
        finally:
            os.close(self._fd)
            os.close(self._directory)

    def _write(self, data: bytes) -> tuple[int, OSError | None]:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as exc:
            return written, exc
        return written, None

    def _cut(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # Half a line at the end is known for what it is when the file is checked.


def _open_directory(path: str) -> int:
    """Open the directory of the trail, made where it is missing."""
    try:
        parent = os.path.dirname(path)
        if parent:
            os.makedirs(parent, mode=0o700, exist_ok=True)
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    try:
        fd = os.open(path, _DIRECTORY)
    except OSError as exc:
        # With O_DIRECTORY, a link is "not a directory".
        if os.path.islink(path):
            raise TrailError(
                f"{path} is a symbolic link; give the directory itself as dir"
            ) from exc
        raise
    status = os.fstat(fd)
    problem = None
    if status.st_uid != os.geteuid():
        problem = "belongs to another user"
    elif stat.S_IMODE(status.st_mode) & 0o022:
        problem = "can be written by other users"
    if problem:
        os.close(fd)
        raise TrailError(
            f"{path} {problem}, who could replace the trail; give a directory of mode 0700 as dir"
        )
    return fd


def _previous(directory: int) -> dict[str, t.Any]:
    """Return where the newest run of the directory stands now. It may still go on."""
    names = [name for name in os.listdir(directory) if NAME.fullmatch(name)]
    for name in sorted(names, reverse=True):
        line = _last_line(name, directory)
        if line is None:
            continue
        try:
            document, digest = unseal(0, line)
        except BrokenError:
            # Checking the directory finds it out; this run's chain goes round it.
            continue
        return {"hash": digest, "file": name, "closed": is_state(document, END)}
    return {"hash": GENESIS}


def _last_line(name: str, directory: int) -> bytes | None:
    """Return the last whole line of a file, newline included."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=directory)
    except OSError:
        return None
    with open(fd, "rb") as handle:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        size, window = os.fstat(fd).st_size, 65536
        while True:
            begin = max(0, size - window)
            handle.seek(begin)
            whole, newline, _torn = handle.read(size - begin).rpartition(b"\n")
            _before, found, last = whole.rpartition(b"\n")
            if newline and (found or begin == 0):
                return last + b"\n"
            if begin == 0:
                return None
            window *= 16
