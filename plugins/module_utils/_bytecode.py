# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs what a task imports from bytecode that the host keeps, so that the task need not compile all of it again.

Ansible sends the modules in a zip file, and Python compiles each module of a zip file twice in each task. The
source that the controller has just sent stays the authority: a SHA-256 shows that the bytecode was made from
that source. Only a complete file that root wrote is unmarshalled. Each task has to compile this file itself, so
it has only the code that reads. Source of the calls: Python's ``importlib``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import stat
import sys
import types
import typing as t
import zipimport

CACHE = "/var/cache/virtaudit"
DIRECTORY = f"{CACHE}/bytecode"
# Bytecode fits one version of Python, and this name tells which.
STAMP = f"{sys.implementation.cache_tag}-{importlib.util.MAGIC_NUMBER.hex()}-{sys.flags.optimize}"
# Enough for all modules of two releases.
MOST_BYTES = 1 << 21
_DIGEST_BYTES = 32


class Finder:
    """Finds the modules in the zip file of a task, and loads them (PEP 451)."""

    def __init__(self, archive: str, kept: dict[bytes, bytes]) -> None:
        self._archive = archive + os.sep
        self._kept = kept
        self._sources: dict[str, tuple[str, bytes]] = {}
        # The kept bytecode that was run, and the code that had to be compiled.
        self.used: dict[bytes, bytes] = {}
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
            name = fullname.rpartition(".")[2]
            try:
                importer = _importer_of(directory)
                package = importer.is_package(fullname)
                file = f"{name}/__init__.py" if package else f"{name}.py"
                source = importer.get_data(os.path.join(directory, file))
            except (ImportError, OSError):
                continue
            origin = os.path.join(directory, file)
            self._sources[fullname] = origin[len(self._archive) :], source
            return importlib.util.spec_from_file_location(
                fullname,
                origin,
                loader=t.cast("t.Any", self),
                submodule_search_locations=(
                    [os.path.join(directory, name)] if package else None
                ),
            )
        return None

    def create_module(self, spec: t.Any) -> None:
        """Let Python make the module."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run a module's code, as any loader does."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102

    def get_code(self, fullname: str) -> types.CodeType:
        """Return the code of a module that was found. Take the kept code if it was made from this source."""
        file, source = self._sources[fullname]
        # Two files with the same content need their own code, because tracebacks name the file.
        key = hashlib.sha256(f"{file}\0".encode() + source).digest()
        kept = self._kept.get(key)
        if kept is not None:
            self.used[key] = kept
            code: types.CodeType = marshal.loads(kept)  # noqa: S302
            return code
        code = compile(source, file, "exec", dont_inherit=True)
        self.compiled[key] = code
        return code

    def get_source(self, fullname: str) -> str:
        """Return the source of a module that was found. Tracebacks and the companion's program use it."""
        return self._sources[fullname][1].decode("utf-8")

    def is_package(self, fullname: str) -> bool:
        """Tell whether a module that was found is a package."""
        return self._sources[fullname][0].endswith("/__init__.py")


def _importer_of(directory: str) -> zipimport.zipimporter:
    known: t.Any = sys.path_importer_cache.get(directory)
    if isinstance(known, zipimport.zipimporter):
        return known
    importer = zipimport.zipimporter(directory)
    sys.path_importer_cache[directory] = t.cast(t.Any, importer)
    return importer


def use_kept_bytecode() -> None:
    """Let root's task run what it imports from now on from the kept bytecode.

    Do nothing if Ansible did not send a zip file.
    """
    archive = getattr(globals().get("__loader__"), "archive", None)
    if archive is not None and os.geteuid() == 0 and finder() is None:
        sys.meta_path.insert(0, t.cast("t.Any", Finder(archive, read())))


def finder() -> Finder | None:
    """Return the finder of this task, or ``None``."""
    return next((each for each in sys.meta_path if isinstance(each, Finder)), None)


def read() -> dict[bytes, bytes]:
    """Return the bytecode that the host keeps for this Python, keyed by the hash of its source.

    Return nothing if it does not fit.
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


def pack(kept: t.Mapping[bytes, bytes]) -> bytes:
    """Return the content of a file of bytecode: the bytecode, with its digest before it."""
    body = marshal.dumps(dict(kept))
    return _digest(body) + body


def unpack(content: bytes) -> dict[bytes, bytes]:
    """Return the bytecode that :func:`pack` got, or nothing if it is incomplete, too large or of another Python."""
    body = content[_DIGEST_BYTES:]
    if len(content) > MOST_BYTES or content[:_DIGEST_BYTES] != _digest(body):
        return {}
    kept: dict[bytes, bytes] = marshal.loads(body)  # noqa: S302
    return kept


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(STAMP.encode() + b"\0" + body).digest()


def is_private(directory: str) -> bool:
    """Tell whether only root can change the content of a directory. A symbolic link does not count as a directory."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_roots(status)


def _is_roots(status: os.stat_result) -> bool:
    return status.st_uid == 0 and not status.st_mode & 0o022
