# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the files that only a thread of a process has open.

The threads of a process share their file descriptors, and /proc/<pid>/fd shows those of the first thread. But any thread
can get descriptors of its own without a capability (``unshare(2)``: CLONE_FILES). qemu's sandbox refuses that, but not
``close_range(2)`` with CLOSE_RANGE_UNSHARE. So a qemu that its guest has taken over can hide a device in this way.
Sources: ``proc(5)``, ``kcmp(2)``.
"""

from __future__ import annotations

import functools
import os
import typing as t

from ._proc import Process, fds_in, raise_exhausted

_KCMP_FILES = 2
# The number of the system call kcmp(2). Each architecture has one of its own.
_KCMP = {
    "x86_64": 312,
    "aarch64": 272,
    "riscv64": 272,
    "loongarch64": 272,
    "ppc64le": 354,
    "s390x": 343,
}


class Files(t.Protocol):
    """The files that a process or one of its threads has open."""

    def files(self) -> t.Iterator[str]:
        """Yield the directory in which proc(5) shows the files."""

    def fds(self) -> set[int]:
        """Return the numbers of the open file descriptors."""


class ThreadFiles(t.NamedTuple):
    """The files of one thread, with the methods of a process that look at its files."""

    directory: str

    def files(self) -> t.Iterator[str]:
        """Yield the directory in which proc(5) shows the files."""
        yield self.directory

    def fds(self) -> set[int]:
        """Return the numbers of the open file descriptors, or none if the thread has ended."""
        return fds_in(self.files())


def own_files(process: Process) -> t.Iterator[ThreadFiles]:
    """Yield the files of each thread that may not share those of the first thread.

    If the kernel does not compare threads, that is each other thread.
    """
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{process.pid}/task")]
    except OSError as exc:
        raise_exhausted(exc)
        return
    for thread in threads:
        if thread != process.pid and not _shares_files(process.pid, thread):
            yield ThreadFiles(f"/proc/{process.pid}/task/{thread}")


def _shares_files(first: int, other: int) -> bool:
    number, libc = _KCMP.get(os.uname().machine), _libc()
    if number is None or libc is None:
        return False
    return bool(libc.syscall(number, first, other, _KCMP_FILES, 0, 0) == 0)


@functools.cache
def _libc() -> t.Any:
    """Return the C library, or ``None`` for a Python without ctypes."""
    try:
        # The import is here because it takes time, and hardly any task needs it.
        import ctypes
    except ImportError:
        return None
    return ctypes.CDLL(None)
