# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs what a task imports from bytecode that the host keeps, so that the task need not compile all of it again.

Ansible sends the modules in a zip file, and Python compiles each module of a zip file twice in each task. The
source that the controller has just sent stays the authority: a SHA-256 shows that the bytecode was made from
that source. Only complete bytecode that root wrote is unmarshalled. Each task has to compile this file itself, so
it has only the code that reads. Source of the calls: Python's ``importlib``.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import marshal
import os
import stat
import struct
import sys
import types
import typing as t
import zipimport
import zlib

CACHE = "/var/cache/virtaudit"
DIRECTORY = f"{CACHE}/bytecode"
# Bytecode fits one version of Python, and this name tells which.
STAMP = f"{sys.implementation.cache_tag}-{importlib.util.MAGIC_NUMBER.hex()}-{sys.flags.optimize}"
# Enough for all modules of two releases.
MOST_BYTES = 1 << 21
DIGEST_BYTES = 32
# The size of the index has eight bytes.
HEADER_BYTES = DIGEST_BYTES + 8


class Finder:
    """Finds the modules in the zip file of a task, and loads them (PEP 451)."""

    def __init__(self, archive: str, kept: t.Mapping[bytes, memoryview]) -> None:
        self._archive = archive + os.sep
        with open(archive, "rb") as handle:
            self._content = handle.read()
        # This reads the list of the archive's files, or finds that zipimport has read it. A Python without the attribute
        # below finds the modules itself.
        zipimport.zipimporter(archive)
        known: dict[str, t.Any] = getattr(zipimport, "_zip_directory_cache", {})
        self._files: dict[str, tuple[t.Any, ...]] = known.get(archive, {})
        self._kept = kept
        self._found: dict[str, str] = {}
        # The kept bytecode that was run, and the code that had to be compiled.
        self.used: dict[bytes, memoryview] = {}
        self.compiled: dict[bytes, types.CodeType] = {}

    def find_spec(
        self,
        fullname: str,
        path: t.Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> t.Any:
        """Return the spec of a module in the zip file, or ``None`` to leave any other module to the other finders."""
        for directory in path or ():
            if not directory.startswith(self._archive):
                continue
            place = f"{directory}{os.sep}{fullname.rpartition('.')[2]}"
            for origin, inner in (
                (f"{place}{os.sep}__init__.py", [place]),
                (f"{place}.py", None),
            ):
                file = origin[len(self._archive) :]
                if file in self._files:
                    self._found[fullname] = file
                    return importlib.util.spec_from_file_location(
                        fullname,
                        origin,
                        loader=t.cast("t.Any", self),
                        submodule_search_locations=inner,
                    )
        return None

    def create_module(self, spec: t.Any) -> None:
        """Let Python make the module."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run a module's code, as any loader does."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102

    def get_code(self, fullname: str) -> types.CodeType:
        """Return the code of a module that was found. Take the kept code if it was made from this source."""
        file = self._found[fullname]
        # Two files with the same content need their own code, because tracebacks name the file.
        key = digest(file.encode(), self._sent(file))
        kept = self._kept.get(key)
        if kept is not None and kept[:DIGEST_BYTES] == digest(key, kept[DIGEST_BYTES:]):
            self.used[key] = kept
            code: types.CodeType = marshal.loads(kept[DIGEST_BYTES:])  # noqa: S302
            return code
        code = compile(self.get_source(fullname), file, "exec", dont_inherit=True)
        self.compiled[key] = code
        return code

    def get_source(self, fullname: str) -> str:
        """Return the source of a module that was found. Tracebacks and the companion's program use it."""
        file = self._found[fullname]
        sent = self._sent(file)
        is_deflated = self._files[file][1]
        return (zlib.decompress(sent, -15) if is_deflated else sent).decode("utf-8")

    def is_package(self, fullname: str) -> bool:
        """Tell whether a module that was found is a package."""
        return self._found[fullname].endswith(f"{os.sep}__init__.py")

    def _sent(self, file: str) -> bytes:
        """Return a file as it stands in the archive, so usually in compressed form (APPNOTE.TXT, 4.3.7)."""
        _path, _method, size, _length, offset, *_rest = self._files[file]
        name, extra = struct.unpack_from("<HH", self._content, offset + 26)
        begin = offset + 30 + name + extra
        return self._content[begin : begin + size]


def use_kept_bytecode() -> None:
    """Let root's task run what it imports from now on from the kept bytecode.

    Do nothing if Ansible did not send a zip file.
    """
    archive = getattr(globals().get("__loader__"), "archive", None)
    if archive is not None and os.geteuid() == 0 and finder() is None:
        # What Ansible has imported does not become garbage, so Python need not look at it again and again.
        gc.freeze()
        sys.meta_path.insert(0, t.cast("t.Any", Finder(archive, read())))


def finder() -> Finder | None:
    """Return the finder of this task, or ``None``."""
    return next((each for each in sys.meta_path if isinstance(each, Finder)), None)


def read() -> dict[bytes, memoryview]:
    """Return the bytecode that the host keeps for this Python: after its digest, keyed by the hash of its source.

    Return nothing if the file does not fit.
    """
    try:
        if not (is_private(CACHE) and is_private(DIRECTORY)):
            return {}
        fd = os.open(
            os.path.join(DIRECTORY, STAMP), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        )
        with open(fd, "rb") as handle:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or not _is_roots(status):
                return {}
            content = handle.read(MOST_BYTES + 1)
    except OSError:
        return {}
    return unpack(content)


def unpack(content: bytes) -> dict[bytes, memoryview]:
    """Return what a file of bytecode has, or nothing if its index is incomplete, or it is too large or of another Python.

    The file has a digest of the index, the size of the index, the index with the place of each piece, and the pieces.
    Most tasks use few pieces, so the digest of a piece is checked only when the piece is used.
    """
    size = int.from_bytes(content[DIGEST_BYTES:HEADER_BYTES], "little")
    begin = HEADER_BYTES + size
    index = content[HEADER_BYTES:begin]
    if len(content) > MOST_BYTES or content[:DIGEST_BYTES] != digest(b"", index):
        return {}
    places: dict[bytes, tuple[int, int]] = marshal.loads(index)  # noqa: S302
    pieces = memoryview(content)[begin:]
    return {key: pieces[first:last] for key, (first, last) in places.items()}


def digest(about: bytes, content: bytes | memoryview) -> bytes:
    """Return a hash of a content and of what it is about, for this Python."""
    return hashlib.sha256(b"\0".join((STAMP.encode(), about, content))).digest()


def is_private(directory: str) -> bool:
    """Tell whether only root can change the content of a directory. A symbolic link does not count as a directory."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_roots(status)


def _is_roots(status: os.stat_result) -> bool:
    return status.st_uid == 0 and not status.st_mode & 0o022
