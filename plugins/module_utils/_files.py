# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that several processes share: locks on directories, files that are written as a whole, and the kernel's
own files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ._errors import BusyError, StateError

_LOCK_STEP_SECONDS = 0.05
_KERNEL_BYTES = 4096


def read_kernel_file(path: str) -> bytes:
    """Return the content of a file of /proc or /sys. Raises :class:`OSError`.

    ``open()`` would need twice as many system calls, and a task reads several such files for each NIC.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while data := os.read(fd, _KERNEL_BYTES):
            content += data
        return content
    finally:
        os.close(fd)


@contextlib.contextmanager
def lock_directory(
    path: str, timeout: float, what: str, meaning: str
) -> t.Iterator[None]:
    """Hold a lock on a directory, and make the directory if it is missing.

    Wait at most ``timeout`` seconds for the lock. Raises :class:`BusyError` if somebody else keeps the lock.
    Its text names ``what`` the lock stands for, and the ``meaning`` of that for the task. Also raises
    :class:`StateError`.
    """
    deadline = time.monotonic() + timeout
    fd = _acquire(path)
    while fd is None:
        if time.monotonic() >= deadline:
            raise BusyError(
                f"another task works on {what} and did not finish within {timeout:g} s; {meaning}"
            )
        time.sleep(_LOCK_STEP_SECONDS)
        fd = _acquire(path)
    try:
        yield
    finally:
        os.close(fd)


def _acquire(path: str) -> int | None:
    """Return a locked fd of the directory that is at ``path`` now, or ``None`` if the caller must try again."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    except OSError as exc:
        raise StateError(f"{path} could not be made: {exc.strerror}") from exc
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateError(f"{path} cannot be used: {exc.strerror}") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The last owner of the lock may have removed the directory while this process waited.
        if os.path.samestat(os.fstat(fd), os.lstat(path)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def write_whole(path: str, content: str | bytes) -> None:
    """Write a file that root owns. After a crash there is either the whole old file or the whole new one.

    Raises :class:`StateError`.
    """
    temporary = f"{path}.new"
    try:
        fd = os.open(
            temporary,
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        with os.fdopen(fd, "wb") as handle:
            handle.write(
                content.encode("utf-8") if isinstance(content, str) else content
            )
            handle.flush()
            os.fsync(fd)
        os.rename(temporary, path)
    except OSError as exc:
        raise StateError(
            f"{path} could not be written: {exc.strerror}; make room on its file system and run the task again. It "
            "finds what this task left"
        ) from exc
