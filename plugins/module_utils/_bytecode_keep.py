# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the bytecode that a task had to compile for the next task."""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import types
import typing as t

from . import _bytecode
from ._errors import StateError
from ._files import write_whole

# One file for each Python of the host, and one for its successor.
_MOST_FILES = 4


def keep_bytecode() -> None:
    """Add what this task had to compile to what the host keeps. This is only a cache.

    If it cannot be written, because the disk is full or another task writes it, the next task compiles again.
    """
    finder = _bytecode.finder()
    if finder is None or not finder.compiled:
        return
    new = {key: _piece(key, code) for key, code in finder.compiled.items()}
    with contextlib.suppress(OSError, StateError):
        for directory in (_bytecode.CACHE, _bytecode.DIRECTORY):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
            if not _bytecode.is_private(directory):
                return
        _write({**finder.used, **new})


def pack(kept: t.Mapping[bytes, bytes | memoryview]) -> bytes:
    """Return the content of a file of bytecode. See :func:`._bytecode.unpack`."""
    places, end = {}, 0
    for key, piece in kept.items():
        places[key] = end, end + len(piece)
        end += len(piece)
    index = marshal.dumps(places)
    head = _bytecode.digest(b"", index) + len(index).to_bytes(8, "little")
    return b"".join((head, index, *kept.values()))


def _piece(key: bytes, code: types.CodeType) -> bytes:
    """Return bytecode with its digest before it. The digest also holds for only one source."""
    content = marshal.dumps(code)
    return _bytecode.digest(key, content) + content


def _write(own: t.Mapping[bytes, bytes | memoryview]) -> None:
    """Write a file with this task's bytecode, and with that of other tasks while there is room.

    Raises OSError, StateError.
    """
    fd = os.open(_bytecode.DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        content = pack({**_bytecode.read(), **own})
        if len(content) > _bytecode.MOST_BYTES:
            # The file also holds code of older releases of the collection.
            content = pack(own)
        if len(content) <= _bytecode.MOST_BYTES:
            write_whole(os.path.join(_bytecode.DIRECTORY, _bytecode.STAMP), content)
        _remove_oldest(fd)
    finally:
        os.close(fd)


def _remove_oldest(fd: int) -> None:
    """Remove all but the files that were written last. Raises OSError."""
    names = sorted(
        os.listdir(fd),
        key=lambda name: os.lstat(f"{_bytecode.DIRECTORY}/{name}").st_mtime,
    )
    for name in names[:-_MOST_FILES]:
        os.unlink(name, dir_fd=fd)
