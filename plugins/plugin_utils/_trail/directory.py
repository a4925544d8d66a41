# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of the trails: who owns it, and which runs a new run continues."""

from __future__ import annotations

import datetime
import fcntl
import grp
import os
import stat
import typing as t

from ...module_utils._errors import VirtauditError
from .line import (
    END,
    GENESIS,
    NAME,
    BrokenError,
    Document,
    anchors,
    ending,
    is_state,
    unseal,
)
from .regular import open_regular

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TIME = "%Y%m%dT%H%M%S.%fZ"
# A run looks at this number of the newest files for ends that no other run has seen. It must open each of them.
_LOOKED_AT = 100


class TrailError(VirtauditError):
    """The trail cannot be written."""


def open_directory(path: str) -> int:
    """Open the directory of the trail. Make it if it is missing. Raises :class:`TrailError` and :class:`OSError`."""
    _make(path)
    try:
        fd = os.open(path, _DIRECTORY)
    except OSError as exc:
        # With O_DIRECTORY, the kernel calls a link "not a directory".
        if os.path.islink(path):
            raise TrailError(
                f"{path} is a symbolic link; give the directory itself as dir"
            ) from exc
        raise
    try:
        _refuse_others(path, os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make(path: str) -> None:
    # os.makedirs gives its mode only to the last directory.
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        _make(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def _refuse_others(path: str, status: os.stat_result) -> None:
    """Refuse a directory that other users can write to or can replace."""
    problem = None
    if status.st_uid != os.geteuid():
        problem = f"{path} belongs to another user"
    elif stat.S_IMODE(status.st_mode) & 0o022:
        problem = f"{path} can be written by other users"
    above = os.path.realpath(path)
    while problem is None and above != os.path.dirname(above):
        above = os.path.dirname(above)
        mode = os.stat(above).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            problem = f"{above} can be written by other users"
    if problem is not None:
        raise TrailError(
            f"{problem}, who could replace the trail; give a directory of mode 0700 as dir"
        )


def group_id(name: str) -> int:
    """Return the number of a group. Raises :class:`TrailError`."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as exc:
        raise TrailError(f"group: there is no group {name}") from exc


def share(fd: int, gid: int, mode: int) -> None:
    """Let the members of a group read. Raises :class:`OSError`."""
    os.fchown(fd, -1, gid)
    os.fchmod(fd, mode)


def trail_names(directory: int) -> list[str]:
    """Return the names of the trails, the newest last."""
    return sorted(name for name in os.listdir(directory) if NAME.fullmatch(name))


def new_name(run: str, began: datetime.datetime, names: t.Sequence[str]) -> str:
    """Return the name of a new trail. It sorts after all other names, also if somebody has set the clock back."""
    if names:
        try:
            newest = datetime.datetime.strptime(names[-1].partition("-")[0], _TIME)
            newest = newest.replace(tzinfo=datetime.timezone.utc)
            began = max(began, newest + datetime.timedelta(microseconds=1))
        except (ValueError, OverflowError):
            pass  # Another program has given this name.
    return f"{began.strftime(_TIME)}-{run}.jsonl"


def previous(directory: int, names: t.Sequence[str]) -> dict[str, t.Any]:
    """Return the last line of the newest run, and of each older run whose end no other run has seen.

    The newest run may still go on. The older runs still went on when the newest one began. While a run goes on, its last
    line is not yet its end.
    """
    ends: list[dict[str, t.Any]] = []
    seen: set[tuple[str, str]] = set()
    for position, name in enumerate(reversed(names)):
        if ends and position >= _LOOKED_AT:
            break
        # The file may grow between the two steps. So the code first finds out whether its run goes on.
        running = _is_running(name, directory)
        first, last = _first_and_last(name, directory)
        # The new run continues the newest one in any case, if it has a line.
        new = not ends or not any(
            file == name and last.endswith(ending(digest)) for file, digest in seen
        )
        if new and (found := _read(last)) is not None:
            document, digest = found
            closed = is_state(document, END)
            end = {"hash": digest, "file": name, "closed": closed}
            ends.append({**end, "running": True} if running and not closed else end)
        if (found := _read(first)) is not None:
            seen |= {
                (each["file"], each["hash"])
                for each in anchors(found[0])
                if not each.get("running")
            }
    if not ends:
        return {"hash": GENESIS}
    newest, *others = ends
    return {**newest, "also": others} if others else newest


def _is_running(name: str, directory: int) -> bool:
    """Tell whether the run that writes a file still goes on. If the code cannot find that out, assume that it does."""
    try:
        with open(open_regular(name, directory), "rb") as handle:
            fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _read(line: bytes) -> tuple[Document, str] | None:
    try:
        return unseal(0, line)
    except BrokenError:
        # The check of trails finds this file. The chain of this run leaves it out.
        return None


def _first_and_last(name: str, directory: int) -> tuple[bytes, bytes]:
    """Return the first and the last whole line of a file, with the newline. Return nothing if there is none."""
    try:
        with open(open_regular(name, directory), "rb") as handle:
            return handle.readline(), _last_line(handle)
    except OSError:
        # The check of trails says what is wrong with it.
        return b"", b""


def _last_line(handle: t.BinaryIO) -> bytes:
    size, window = os.fstat(handle.fileno()).st_size, 65536
    while True:
        begin = max(0, size - window)
        handle.seek(begin)
        whole, newline, _torn = handle.read(size - begin).rpartition(b"\n")
        _before, found, last = whole.rpartition(b"\n")
        if newline and (found or begin == 0):
            return last + b"\n"
        if begin == 0:
            return b""
        window *= 16
