# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of this host: which process it is, whether it lives, what it runs and has open, and how it ends.

Source: ``proc(5)``, ``pidfd_open(2)``, ``pidfd_getfd(2)``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
import typing as t

_END_SECONDS = 5.0
_FATE_SECONDS = 0.5
# These errors say nothing about the file. They mean that the task or the host has run out of
# something.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_DELETED = " (deleted)"
# The number of the system call, which all architectures of Linux share.
_PIDFD_GETFD = 438

P = t.TypeVar("P", bound="Process")


def raise_exhausted(exc: OSError) -> None:
    """Raise the error again unless it means "there is no such file".

    A task that has no file descriptor left to look at a process must not conclude that the process has ended.
    """
    if exc.errno in _EXHAUSTED:
        raise exc


def fds_in(directories: t.Iterable[str]) -> set[int]:
    """Return the numbers of the open file descriptors that proc(5) shows in the first directory that has any."""
    for directory in directories:
        try:
            found = os.listdir(f"{directory}/fd")
        except OSError as exc:
            raise_exhausted(exc)
            continue
        if found:
            return {int(name) for name in found}
    return set()


def stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third (the state) on, or ``None`` if there is no such process.

    Raises :class:`OSError` if the host is out of file descriptors or memory.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            # The command's name may have blanks and brackets, so the fields start after the last
            # bracket.
            return handle.read().rpartition(b")")[2].decode("ascii").split()
    except OSError as exc:
        raise_exhausted(exc)
    except UnicodeDecodeError:
        pass
    return None


def group_of(thread: int) -> int | None:
    """Return the pid of the process that a thread belongs to, or ``None`` if there is no such thread."""
    return _status_number(thread, "Tgid")


def _status_number(pid: int, key: str) -> int | None:
    """Return the first number of a line of /proc/<pid>/status."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as handle:
            for line in handle:
                name, _colon, value = line.partition(":")
                if name == key:
                    return int(value.split()[0])
    except OSError as exc:
        raise_exhausted(exc)
    return None


class Process(t.NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid.

    ``start_time`` is field 22 of /proc/<pid>/stat, in clock ticks since boot.
    """

    pid: int
    start_time: int

    @classmethod
    def of(cls: type[P], pid: int) -> P | None:
        """Return the living process of a pid. A zombie does not live.

        If only the first thread has ended, it is a zombie too, but the other threads still hold every file.
        """
        fields = stat_fields(pid)
        if fields is None or (fields[0] in ("Z", "X") and int(fields[17]) <= 1):
            return None
        return cls(pid, int(fields[19]))

    def is_alive(self) -> bool:
        """Tell whether exactly this process still runs. No other code decides whether a process lives.

        A pidfd shows a process that /proc may hide. The start time shows whether it is a later process with the
        same pid.
        """
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        except OSError as exc:
            raise_exhausted(exc)
            # An old kernel or a sandbox without pidfds.
            return Process.of(self.pid) == self
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if poll.poll(0):
                return False
        finally:
            os.close(pidfd)
        fields = stat_fields(self.pid)
        # If a process lives and /proc does not show it, nothing proves that it has ended.
        return fields is None or int(fields[19]) == self.start_time

    def fate(self) -> str:
        """Return the end of a message if qemu has ended, and nothing if it runs.

        A process that was killed lives on for a moment without its files.
        """
        return ": qemu has ended or crashed" if self.wait_end(_FATE_SECONDS) else ""

    def fds(self) -> set[int]:
        """Return the numbers of the open file descriptors, or none if the process has ended."""
        return fds_in(self.files())

    def copy_of(self, fd: int) -> int:
        """Copy an open file descriptor into this process (``pidfd_getfd(2)``). No child gets it. Raises :class:`OSError`."""
        # The import is here because it takes time, and hardly any task needs it.
        import ctypes

        pidfd = os.pidfd_open(self.pid)
        try:
            if not self.is_alive():
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
            libc = ctypes.CDLL(None, use_errno=True)
            copy = int(libc.syscall(_PIDFD_GETFD, pidfd, fd, 0))
            code = ctypes.get_errno()
        finally:
            os.close(pidfd)
        if copy < 0:
            raise OSError(code, os.strerror(code))
        return copy

    def wait_end(self, seconds: float) -> bool:
        """Wait until the process has ended. Tell whether it has ended."""
        deadline = time.monotonic() + seconds
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:
            return not self.is_alive()
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            while self.is_alive():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                poll.poll(left * 1000)
        finally:
            os.close(pidfd)
        return True

    def kill(self) -> None:
        """End the process with SIGKILL. Never end a later process with the same pid."""
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(self.pid)
            try:
                if self.is_alive():
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)

    def end(self) -> bool:
        """Kill the process and wait for its end. Tell whether it has ended."""
        self.kill()
        return self.wait_end(_END_SECONDS)

    def command_line(self) -> list[str]:
        """Return the arguments that the process was started with."""
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as handle:
                words = handle.read().split(b"\0")[:-1]
        except OSError as exc:
            raise_exhausted(exc)
            return []
        return [os.fsdecode(word) for word in words]

    def exe(self) -> str:
        """Return the program that the process runs, which the kernel knows, or an empty text if the process has ended.

        A process can choose its arguments, but not its program. If the program was replaced after the start,
        for example by an update of its package, the kernel writes `` (deleted)`` after the path.
        """
        try:
            path = os.readlink(f"/proc/{self.pid}/exe")
        except OSError as exc:
            raise_exhausted(exc)
            return ""
        return path[: -len(_DELETED)] if path.endswith(_DELETED) else path

    def started(self) -> float:
        """Return when the process was started, in seconds since the epoch. Its start time counts from the boot."""
        running = time.clock_gettime(time.CLOCK_BOOTTIME)
        running -= self.start_time / os.sysconf("SC_CLK_TCK")
        return time.time() - running

    def uid(self) -> int | None:
        """Return the real uid of the process, or ``None`` if the process has ended.

        The owner of the directory in /proc may differ, because root owns it for a process that cannot be
        dumped.
        """
        return _status_number(self.pid, "Uid")

    def files(self) -> t.Iterator[str]:
        """Yield the directory in which proc(5) shows the files.

        It is the directory of the first thread, or of another thread if the first has ended.
        """
        yield f"/proc/{self.pid}"
        fields = stat_fields(self.pid)
        if fields is not None and fields[0] == "Z":
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for thread in os.listdir(f"/proc/{self.pid}/task"):
                    yield f"/proc/{self.pid}/task/{thread}"


def all_processes() -> t.Iterator[Process]:
    """Yield every living process that can be seen."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = Process.of(int(name))
            if process is not None:
                yield process


def boot_id() -> str:
    """Return the id of the running boot. Notes from an earlier boot are void."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        return handle.read().strip()
