# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unpacks files of ``gzip(1)``, ``xz(1)``, ``bzip2(1)`` and ``zstd(1)``, up to the point where a file breaks off.

The first bytes of a file show which program packed it, whatever its name is. Several packed files in a row
count as one, as they do for those programs.
"""

from __future__ import annotations

import typing as t
import zlib

Packing = t.Literal["gzip", "xz", "bzip2", "zstd"]

_MAGIC: tuple[tuple[bytes, Packing], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_OTHERS = (
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"\x1f\x9d", "packed by compress: unpack it with uncompress"),
    (b"\x04\x22\x4d\x18", "packed by lz4: unpack it with lz4 -d"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (
        b"LPKSHHRH",
        "a binary file of the journal: give what journalctl --file with its name, _TRANSPORT=audit and -o export prints",
    ),
)
# zlib returns all that it unpacks at once, at most a thousand times the size.
_IN_BYTES = 1 << 14
_OUT_BYTES = 1 << 20
MAGIC_BYTES = 8

ReadAt = t.Callable[[int, int], bytes]


class PackedError(OSError):
    """The file cannot be unpacked here, or it is broken. The text says which of the two."""


def packing_of(head: bytes) -> Packing | None:
    """Return which program packed a file that begins like this."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def foreign_packing(head: bytes) -> str | None:
    """Return in words what kind of file this is if it cannot be unpacked here, and what to do."""
    return next((words for magic, words in _OTHERS if head.startswith(magic)), None)


def unpacked(
    packing: Packing, read_at: ReadAt, size: int, fd: int
) -> t.Iterator[bytes]:
    """Yield the unpacked content of the ``size`` bytes that ``read_at`` reads.

    If Python cannot unpack them, a program gets ``fd``. Raises :class:`PackedError` after all that could be
    unpacked.
    """
    if packing == "zstd":
        yield from _zstd(fd)
        return
    try:
        make, broken = _decompressor(packing)
    except ImportError as exc:
        raise PackedError(
            f"this Python cannot unpack {packing}: unpack it first"
        ) from exc
    limit = () if packing == "gzip" else (_OUT_BYTES,)
    position, data, worker, begun = 0, b"", make(), False
    while True:
        if not data and getattr(worker, "needs_input", True):
            data = read_at(position, min(_IN_BYTES, size - position))
            position += len(data)
            if not data and not begun:
                return
            if not data:
                raise PackedError(
                    f"it is cut: it ends in the middle of its {packing} data"
                )
        if not begun:
            # xz pads with NULs.
            data = data.lstrip(b"\0")
        begun = begun or bool(data)
        try:
            block = worker.decompress(data, *limit)
        except broken as exc:
            raise PackedError(f"it is not a complete {packing} file: {exc}") from exc
        data = b""
        if block:
            yield block
        if _has_ended(worker):
            # Another one may follow.
            data, worker, begun = worker.unused_data, make(), False


def _has_ended(worker: t.Any) -> bool:
    return bool(worker.eof)


def _decompressor(
    packing: Packing,
) -> tuple[t.Callable[[], t.Any], tuple[type[Exception], ...]]:
    """Return the function that makes a decompressor, and the exceptions of that decompressor.

    Raises :class:`ImportError` if this Python lacks it.
    """
    if packing == "gzip":
        return lambda: zlib.decompressobj(31), (zlib.error,)
    if packing == "xz":
        import lzma

        return lzma.LZMADecompressor, (lzma.LZMAError, EOFError)
    import bz2

    return bz2.BZ2Decompressor, (OSError, EOFError, ValueError)


def _zstd(fd: int) -> t.Iterator[bytes]:
    # The imports are here because few logs are packed this way, and each import takes time.
    import shutil
    import subprocess

    if fd < 0:
        raise PackedError(
            "it is packed by zstd within an archive: unpack the archive first"
        )
    program = shutil.which("zstd") or shutil.which("unzstd")
    if program is None:
        raise PackedError(
            "zstd is not installed here: install it, or unpack the log first"
        )
    with open(fd, "rb", closefd=False) as raw:
        raw.seek(0)
        with subprocess.Popen(
            [program, "-dcq"], stdin=raw, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            stdout = t.cast(t.IO[bytes], process.stdout)
            try:
                while True:
                    block = stdout.read(_OUT_BYTES)
                    if not block:
                        break
                    yield block
            except GeneratorExit:
                process.kill()
                raise
            said = t.cast(t.IO[bytes], process.stderr).read().decode("utf-8", "replace")
    if process.returncode:
        raise PackedError(
            f"zstd: {said.strip().splitlines()[-1] if said.strip() else 'it failed'}"
        )
