# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the few lines of a log that matter, without looking at each line.

Python's own search of bytes takes 0.3 s a GB for each text; the C library's ``memmem(3)`` takes a
third of that, and lets go of the interpreter lock, so that several texts are looked for at a time.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import functools
import typing as t

from .files import LogFile, spool

_BLOCK_BYTES = 1 << 22
_FIRST_BLOCK_BYTES = 1 << 16
# The kernel cuts a record at 8970 bytes (MAX_AUDIT_MESSAGE_LENGTH); the names of an enriched one come on top.
_LONGEST_LINE_BYTES = 1 << 16
# How far before its PATH record an open's SYSCALL record may stand.
_CONTEXT_BYTES = 1 << 16
_THREADS = 2

_memmem = ctypes.CDLL(None).memmem
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]

Span = tuple[int, int]


class Line(t.NamedTuple):
    """A line of a log, and what stands before it there, as far as it is at hand."""

    text: bytes
    before: t.Callable[[], bytes]


def lines_with(log: LogFile, needles: t.Sequence[bytes]) -> t.Iterator[Line]:
    """Yield the lines that hold one of ``needles``, in the log's order, each once.

    Raises as :meth:`LogFile.blocks`.
    """
    # What was looked through, of which a little is kept, and the line that has not ended yet.
    done, rest = b"", b""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for block in log.blocks(_BLOCK_BYTES):
            buffer = b"".join((done, rest, block))
            start = len(done)
            end = max(buffer.rfind(b"\n") + 1, start)
            yield from _lines(buffer, start, end, needles, pool)
            done = buffer[max(0, end - _CONTEXT_BYTES) : end]
            rest = _cut(buffer[end:])
        buffer = done + rest
        yield from _lines(buffer, len(done), len(buffer), needles, pool)


def lines_backwards(log: LogFile, needles: t.Sequence[bytes]) -> t.Iterator[bytes]:
    """Yield the lines that hold one of ``needles``, last first. Reads no further than it is asked to.

    Raises as :meth:`LogFile.blocks`.
    """
    if not log.compressed:
        yield from _backwards(log.read_at, log.size, needles)
        return
    # gzip can be read only forwards: put the lines aside, and read those backwards.
    with spool() as found:
        for line in lines_with(log, needles):
            found.write(line.text + b"\n")

        def read_at(position: int, length: int) -> bytes:
            found.seek(position)
            return found.read(length)

        yield from _backwards(read_at, found.tell(), needles)


def _cut(line: bytes) -> bytes:
    """Shorten a line that cannot be a record, so that it neither fills the memory nor is taken for one."""
    return line if len(line) <= _LONGEST_LINE_BYTES else b"\0" * _LONGEST_LINE_BYTES


def _backwards(
    read_at: t.Callable[[int, int], bytes], position: int, needles: t.Sequence[bytes]
) -> t.Iterator[bytes]:
    step = _FIRST_BLOCK_BYTES
    # The end of a line whose begin has not been read yet.
    rest = b""
    while position > 0:
        size = min(step, position)
        position -= size
        step = min(step * 2, _BLOCK_BYTES)
        buffer = read_at(position, size) + rest
        start = buffer.find(b"\n") + 1 if position else 0
        if position and not start:
            rest = _cut(buffer)
            continue
        rest = _cut(buffer[:start])
        for first, last in reversed(_spans(buffer, start, len(buffer), needles, map)):
            yield buffer[first:last]


def _before(buffer: bytes, position: int) -> bytes:
    return buffer[max(0, position - _CONTEXT_BYTES) : position]


def _lines(
    buffer: bytes,
    start: int,
    end: int,
    needles: t.Sequence[bytes],
    pool: concurrent.futures.Executor,
) -> t.Iterator[Line]:
    for first, last in _spans(buffer, start, end, needles, pool.map):
        yield Line(buffer[first:last], functools.partial(_before, buffer, first))


def _spans(
    buffer: bytes,
    start: int,
    end: int,
    needles: t.Sequence[bytes],
    mapped: t.Callable[..., t.Iterable[list[Span]]],
) -> list[Span]:
    """Return where the lines with one of the texts begin and end, in order, without their newlines."""
    search = functools.partial(_spans_of, buffer, start, end)
    return sorted({span for part in mapped(search, needles) for span in part})


def _spans_of(buffer: bytes, start: int, end: int, needle: bytes) -> list[Span]:
    base = ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    size = len(needle)
    lower = start
    spans: list[Span] = []
    while True:
        found = _memmem(base + start, end - start, needle, size)
        if not found:
            return spans
        first = buffer.rfind(b"\n", lower, found - base) + 1 or lower
        last = buffer.find(b"\n", found - base, end)
        last = end if last < 0 else last
        spans.append((first, last))
        start = last
