# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trail file of a run, while it is written."""

from __future__ import annotations

import datetime
import fcntl
import os
import time
import typing as t

from .directory import (
    TrailError,
    group_id,
    new_name,
    open_directory,
    previous,
    share,
    trail_names,
)
from .line import (
    Document,
    seal,
)

_NEW = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# The lock is tried again for one second.
_ATTEMPTS, _PAUSE = 100, 0.01


class TrailFile:
    """An open trail file. It has mode 0600, it only grows, and each line continues the line before.

    Each line goes to the kernel at once and as a whole. There is no buffer, because Ansible's workers are forks of this
    process, and each of them could write the buffer again.
    """

    def __init__(
        self,
        directory: str,
        run: str,
        began: datetime.datetime,
        group: str | None = None,
    ) -> None:
        """Make the file. Raises :class:`TrailError` if other users can write the directory, or if this user cannot.

        The members of ``group`` can read the file and list the directory.
        """
        gid = None if group is None else group_id(group)
        self.lines = 0
        self._size = 0
        try:
            self._directory = open_directory(directory)
            try:
                names = trail_names(self._directory)
                self.previous = previous(self._directory, names)
                name = new_name(run, began, names)
                self.path = os.path.join(directory, name)
                self._fd = os.open(name, _NEW, 0o600, dir_fd=self._directory)
                try:
                    _lock(self._fd)
                    if gid is not None:
                        share(self._directory, gid, 0o750)
                        share(self._fd, gid, 0o640)
                except BaseException:
                    # A file without a line proves nothing, and no later run could continue it.
                    os.unlink(name, dir_fd=self._directory)
                    os.close(self._fd)
                    raise
            except BaseException:
                os.close(self._directory)
                raise
        except OSError as exc:
            raise TrailError(
                f"a file in {directory} cannot be made: {exc.strerror}"
            ) from exc
        self.head = str(self.previous["hash"])

    def append(self, documents: t.Iterable[Document]) -> None:
        """Write a line for each document. This adds ``event.sequence`` and the link to the line before.

        Raises :class:`TrailError`. Then the file ends with the last line that fitted as a whole.
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

    def sync(self) -> None:
        """Make sure that what is written is on the disk, and that the file has its name there. Raises :class:`TrailError`."""
        try:
            os.fsync(self._fd)
            os.fsync(self._directory)
        except OSError as exc:
            raise TrailError(f"{self.path} cannot be written: {exc.strerror}") from exc

    def close(self, closing: Document | None) -> None:
        """Write the closing line, if there is one, and make sure that all is on the disk. Raises :class:`TrailError`.

        A file without a line is removed: it proves nothing, and no later run could continue it.
        """
        try:
            if closing is not None:
                self.append([closing])
            if not self.lines:
                os.unlink(os.path.basename(self.path), dir_fd=self._directory)
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
            pass  # The check of the file notices half a line at the end.


def _lock(fd: int) -> None:
    """Lock the file as long as this process lives, so that other runs know that the file may still grow.

    The lock belongs to this process only. A worker is a fork, and if it shared the lock, it could keep the lock after the
    run was killed.
    """
    # Another run that begins at this moment holds a shared lock while it looks at the file.
    for _attempt in range(_ATTEMPTS):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except (BlockingIOError, PermissionError):
            time.sleep(_PAUSE)
        except OSError:
            return  # The file system has no locks. Then other runs assume that the run still goes on.
