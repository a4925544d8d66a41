# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the few lines of a log that matter, without looking at each line.

Python's own search of bytes takes 0.5 s a GB for each text, and the C library's ``memmem(3)`` takes 0.2 s.
``strstr(3)`` compares many bytes at once and takes 0.03 s, if the first two bytes of the text are rare in a
log. It stops at a NUL, which only a crash of the host leaves in a log. For such a log this module uses
``memmem(3)``.
"""

from __future__ import annotations

import ctypes
import re
import typing as t

from .files import LogFile

BLOCK_BYTES = 1 << 21
# The kernel cuts a record at 8970 bytes (MAX_AUDIT_MESSAGE_LENGTH); the names of an enriched one come on top.
_LONGEST_LINE_BYTES = 1 << 16
# How many bytes may lie between the SYSCALL record of an open and its PATH record.
CONTEXT_BYTES = 1 << 16
# The type of a line comes after the name of its node.
_HEAD_BYTES = 300
# These texts show where a host may have booted. The lines beside them show whether the kernel's
# count starts again. They begin without "type=", which stands in each line.
BOOT_NEEDLES = (b"SYSTEM_BOOT msg=audit(", b"DAEMON_START msg=audit(")
_BOOT = re.compile(rb"(node=\S+ )?type=(?:SYSTEM_BOOT|DAEMON_START) ")
_PATH_EVENT = re.compile(rb"type=PATH msg=audit\(([0-9.:]+)\): ")

# An entry of the journal's export form takes several lines.
_ENTRY = b"MESSAGE="
_GAPS = (b"\n\n", b"\n\r\n")
_LONGEST_ENTRY_BYTES = 1 << 16
# This text ends a line that is longer than any record, so that the line does not count as a record.
_CUT = b"\xff..."

_libc = ctypes.CDLL(None)
_memmem = _libc.memmem
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
_strstr = _libc.strstr
_strstr.restype = ctypes.c_void_p
_strstr.argtypes = [ctypes.c_void_p, ctypes.c_char_p]


def in_head(head: bytes, needles: t.Sequence[bytes]) -> list[Line]:
    """Search the beginning of a log."""
    return _lines(head, 0, len(head), needles, 0)


ReadAt = t.Callable[[int, int], bytes]


class Line(t.NamedTuple):
    """A line of a log that begins at ``offset``.

    A PATH record is only a part of its event, so ``before`` is its SYSCALL record. For a line of the journal's
    export form, ``before`` is the whole entry around it.
    """

    text: bytes
    before: bytes = b""
    offset: int = 0


def is_boot(line: Line) -> bool:
    """Tell whether the lines beside a line show whether the host booted."""
    return _BOOT.match(line.text) is not None


def search(
    read_at: ReadAt,
    total: int,
    start: int,
    size: int,
    needles: t.Sequence[bytes],
    context: int,
) -> list[Line]:
    """Search the lines of a log of ``total`` bytes that begin in the ``size`` bytes from ``start`` on.

    Read ``context`` more bytes before these. It is at least one byte, which shows whether a line begins at
    ``start``. Raises :class:`OSError`.
    """
    lower = max(0, start - context)
    upper = min(total, start + size + _LONGEST_LINE_BYTES)
    buffer = read_at(lower, upper - lower)
    if len(buffer) < upper - lower:
        raise OSError("the log became shorter while the module read it")
    begin, end = start - lower, start - lower + size
    if start > 0:
        begin = _separator(buffer, begin - 1, end - 1) + 1
        if not begin:
            return []
    if end < len(buffer):
        newline = _separator(buffer, end - 1, len(buffer))
        end = newline if newline >= 0 else len(buffer)
        if newline < 0 and upper < total:
            # A piece without an end in reach is not a line. The module reports what it holds.
            buffer += _CUT
            end = len(buffer)
    return _lines(buffer, begin, end, needles, lower, complete=upper == total)


def _separator(buffer: bytes, start: int, end: int) -> int:
    """Find the end of a line. This is a newline, or the NULs that a crash of the host left in its place."""
    newline = buffer.find(b"\n", start, end)
    null = buffer.find(b"\0", start, newline if newline >= 0 else end)
    return newline if null < 0 else null


def unpack(log: LogFile, needles: t.Sequence[bytes]) -> t.Iterator[list[Line]]:
    """Search a compressed log block by block. Raise what :meth:`LogFile.blocks` raises."""
    # A little of the bytes that were searched, and the line that has not ended yet.
    done, rest, base = b"", b"", 0
    for block in log.blocks(BLOCK_BYTES):
        buffer = b"".join((done, rest, block))
        start = len(done)
        end = _before_boots(buffer, start, _last_separator(buffer, start, len(buffer)))
        if not log.plain:
            # Do not split an entry of the export form, unless it is very long.
            near = max(start, end - _LONGEST_LINE_BYTES // 2)
            end = min(_end_of_entry(buffer, near) or end, end)
        yield _lines(buffer, start, end, needles, base)
        done = buffer[max(0, end - CONTEXT_BYTES) : end]
        rest = buffer[end:]
        base += end - len(done)
        if len(rest) > _LONGEST_LINE_BYTES:
            # This is not a record. It must not fill the memory, and it must not count as a record.
            yield _lines(
                rest + _CUT, 0, len(rest) + len(_CUT), needles, base + len(done)
            )
            base += len(done) + len(rest) - _LONGEST_LINE_BYTES
            done, rest = b"", b"\xff" * _LONGEST_LINE_BYTES
    buffer = done + rest
    yield _lines(buffer, len(done), len(buffer), needles, base, complete=True)


def _last_separator(buffer: bytes, start: int, end: int) -> int:
    """Return the end of the last complete line, or ``start`` if no line is complete."""
    after = max(buffer.rfind(b"\n", start, end) + 1, start)
    return max(buffer.rfind(b"\0", after, end) + 1, after)


def _before_boots(buffer: bytes, start: int, end: int) -> int:
    """Return the end of a block without the lines of a boot at its end.

    The next block gets these lines, because it has the record after them. A user can send many such lines. All but the
    last of them have the record after them in this block.
    """
    start = max(start, end - _LONGEST_LINE_BYTES // 2)
    while end > start:
        first = _last_separator(buffer, start, end - 1)
        if not _BOOT.match(buffer, first, end):
            break
        end = first
    return end


def _lines(
    buffer: bytes,
    start: int,
    end: int,
    needles: t.Sequence[bytes],
    offset: int,
    complete: bool = False,
) -> list[Line]:
    """Return the lines that have one of the texts, in order, without their newlines.

    The buffer begins at ``offset`` of the log. ``complete`` tells that the buffer ends at the end of the log.
    """
    find = _finder(buffer, start, end)
    spans: set[tuple[int, int]] = set()
    for needle in needles:
        position = start
        while True:
            at = find(needle, position)
            if at < 0:
                break
            first = buffer.rfind(b"\n", start, at) + 1 or start
            first = buffer.rfind(b"\0", first, at) + 1 or first
            position = _separator(buffer, at, end)
            if position < 0:
                position = end
            spans.add((first, position))
            if needle in BOOT_NEEDLES:
                spans.update(
                    (older, newer)
                    for older, newer in _beside(buffer, first, position, end)
                    # If a line of another block has a needle, the search of that block finds it.
                    if start <= older < end
                    or not any(each in buffer[older:newer] for each in needles)
                )
    return [
        Line(
            buffer[first:last],
            _before(buffer, first, last, offset, complete),
            offset + first,
        )
        for first, last in sorted(spans)
    ]


def _finder(buffer: bytes, start: int, end: int) -> t.Callable[[bytes, int], int]:
    """Return a function that finds a text between a position and ``end``. It returns the text's position, or -1."""
    base = ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    plain = buffer.find(b"\0", start, end) < 0

    def find(needle: bytes, position: int) -> int:
        if plain:
            # Python puts a NUL after each bytes object.
            found = _strstr(base + position, needle)
        else:
            found = _memmem(base + position, end - position, needle, len(needle))
        at = found - base if found else -1
        return at if at + len(needle) <= end else -1

    return find


def _beside(buffer: bytes, first: int, last: int, end: int) -> list[tuple[int, int]]:
    """Return the last numbered record before a line, and the next one after it, of the same host.

    They may be in another block. This block ends at ``end``.
    """
    head = _BOOT.match(buffer, first, last)
    if head is None:
        return []
    counted = re.compile(
        rb"(?:^|(?<=\0))%stype=(?!DAEMON_|SYSCALL|PATH)[A-Z_0-9]+ msg=audit\([^\n\0]*"
        % re.escape(head.group(1) or b""),
        re.MULTILINE,
    )
    older = _last_match(counted, buffer, max(0, first - CONTEXT_BYTES), first)
    newer = counted.search(buffer, last)
    found = [match.span() for match in (older, newer) if match is not None]
    # A line at the end of the buffer may be cut.
    return [span for span in found if span[1] <= end or span[1] < len(buffer)]


def _last_match(
    pattern: re.Pattern[bytes], buffer: bytes, start: int, end: int
) -> re.Match[bytes] | None:
    """Return the match of the last line in a piece that matches.

    It looks at the last line first. A user can send many records of a boot in a row, and must not make the module
    search the whole piece for each of them.
    """
    while end > start:
        begin = _last_separator(buffer, start, end - 1)
        match = pattern.match(buffer, begin, end)
        if match is not None:
            return match
        end = begin
    return None


def _end_of_entry(buffer: bytes, start: int) -> int:
    """Return the end of the last complete entry of the export form, or 0 if no entry ends after ``start``."""
    found = [(buffer.rfind(gap, start), len(gap)) for gap in _GAPS]
    return max((at + size for at, size in found if at >= 0), default=0)


def _entry(buffer: bytes, first: int, last: int, offset: int, complete: bool) -> bytes:
    """Return the entry around a line. The fields that tell who sent the entry can be anywhere in it.

    Return nothing if the beginning or the end of the entry is too far away, or if the entry has another message after
    the line.
    """
    # A log that was on Windows has a CR at the end of each line.
    gap = _GAPS[buffer.startswith(b"\r", last - 1)]
    begin = buffer.rfind(gap, max(0, first - _LONGEST_ENTRY_BYTES), first)
    end = buffer.find(gap, last, last + _LONGEST_ENTRY_BYTES)
    if begin < 0 and (offset or first > _LONGEST_ENTRY_BYTES):
        return b""
    if end < 0:
        if not complete or len(buffer) - last > _LONGEST_ENTRY_BYTES:
            return b""
        end = len(buffer)
    if buffer.find(b"\n" + _ENTRY, last, end) >= 0:
        # Only entries of the kernel are records, and each of them has one message.
        return b""
    return buffer[begin + len(gap) if begin >= 0 else 0 : end]


def _before(buffer: bytes, first: int, last: int, offset: int, complete: bool) -> bytes:
    if buffer.startswith(_ENTRY, first):
        return _entry(buffer, first, last, offset, complete)
    path = _PATH_EVENT.search(buffer, first, first + _HEAD_BYTES)
    if path is None:
        return b""
    head = b"type=SYSCALL msg=audit(%s): " % path.group(1)
    start = buffer.rfind(head, max(0, first - CONTEXT_BYTES), first)
    return b"" if start < 0 else buffer[start : buffer.index(b"\n", start)]
