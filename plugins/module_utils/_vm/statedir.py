# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state directory of each VM, ``/run/virtaudit/<uuid>/`` (0700 root), and the locks around it.

It holds the VM's QMP socket, pid file and note (``state.json``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import typing as t

from .._errors import StateError
from .._files import lock_directory, write_whole
from .._proc import raise_exhausted
from .note import Note, decode, encode

BASE = "/run/virtaudit"
_NOTE = "state.json"


class VmState:
    """The directory of one VM. Raises :class:`StateError`."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.path = f"{BASE}/{uuid}"
        self.qmp_socket = f"{self.path}/qmp.sock"
        self.pid_file = f"{self.path}/qemu.pid"

    @contextlib.contextmanager
    def locked(self, timeout: float) -> t.Iterator[None]:
        """Keep other tasks from this VM. Wait at most ``timeout`` seconds for them.

        The lock is on the directory itself, which is removed when nothing is left to note.
        """
        with lock_directory(
            self.path,
            timeout,
            f"VM {self.uuid}",
            "nothing was changed, run the task again",
        ):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    os.rmdir(self.path)

    def is_locked(self) -> bool:
        """Tell whether a task works on this VM now."""
        try:
            fd = os.open(
                self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            )
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def load(self) -> Note | None:
        """Return the note, or ``None`` if there is no usable note. The note of another VM is not usable.

        Raises :class:`OSError` if the host is out of file descriptors or memory.
        """
        try:
            with open(self._file, encoding="utf-8") as handle:
                note = decode(handle.read())
                return note if note.uuid == self.uuid else None
        except OSError as exc:
            raise_exhausted(exc)
        except (ValueError, TypeError, AttributeError):
            pass
        return None

    def save(self, note: Note) -> None:
        """Write the note. After a crash there is either the complete old note or the complete new one."""
        write_whole(self._file, encode(note))

    def begin(self, note: Note) -> None:
        """Note that a task is going to change something."""
        if note.busy is None:
            note.busy = time.time()
            note.busy_up = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.save(note)

    def write_pid_file(self, pid: int) -> None:
        """Write the pid of qemu for people, and for tools that look for a pid file."""
        write_whole(self.pid_file, f"{pid}\n")

    def set_aside(self, instead: Note | None) -> None:
        """Set a note aside that cannot be read, so that a person can look at it, and put another note, or none,
        in its place.

        A crash leaves either the old or the new note.
        """
        kept = f"{self._file}.unreadable"
        with contextlib.suppress(OSError):
            os.unlink(kept)
        with contextlib.suppress(OSError):
            os.link(self._file, kept)
        if instead is not None:
            self.save(instead)
        else:
            with contextlib.suppress(OSError):
                os.unlink(self._file)

    def has_unreadable(self) -> bool:
        """Tell whether there is a note that is not usable."""
        return os.path.exists(self._file) and self.load() is None

    def remove(self) -> None:
        """Forget the VM: its note, socket and pid file."""
        try:
            # The note is removed last. If the task is cut off here, the next one finds the note and removes the rest.
            for name in sorted(os.listdir(self.path), key=_NOTE.__eq__):
                os.unlink(f"{self.path}/{name}")
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise StateError(
                f"{self.path} could not be removed: {exc.strerror}"
            ) from exc

    @property
    def _file(self) -> str:
        return f"{self.path}/{_NOTE}"


@contextlib.contextmanager
def host_locked(timeout: float) -> t.Iterator[None]:
    """Keep the tasks of all other VMs from claiming MACs until the block ends."""
    with lock_directory(
        BASE,
        timeout,
        "the MACs of this host",
        "run the task again, which goes on from here",
    ):
        yield


def other_vms(uuid: str) -> list[VmState]:
    """Return the places of the notes of all other VMs."""
    try:
        names = sorted(os.listdir(BASE))
    except OSError as exc:
        # If nobody can tell whether another VM has a MAC, no VM may get it.
        raise_exhausted(exc)
        return []
    return [VmState(name) for name in names if name != uuid]


def other_notes(uuid: str) -> list[Note]:
    """Return the notes of all other VMs."""
    notes = (state.load() for state in other_vms(uuid))
    return [note for note in notes if note is not None]


def prepare_base() -> None:
    """Make the state directory. Refuse a directory that anybody but root could write to. Raises :class:`StateError`."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(BASE, 0o700)
    except OSError as exc:
        raise StateError(f"{BASE} could not be made: {exc.strerror}") from exc
    check_base()


def check_base() -> None:
    """Refuse a state directory that anybody but root could write to, if there is one. Raises :class:`StateError`."""
    try:
        status = os.lstat(BASE)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StateError(f"{BASE} could not be made: {exc.strerror}") from exc
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.geteuid()
        or stat.S_IMODE(status.st_mode) & 0o077
    ):
        raise StateError(
            f"{BASE} is not a directory of root's with mode 0700, so its content cannot be trusted;"
            f" look at it, then remove it ('rm -r {BASE}') while no VM of this collection runs"
        )
