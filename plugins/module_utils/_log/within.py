# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the parts of a log that are within a message of the journal, and so are not lines of the log. Pure.

A user chooses the text of a message, and a line of that text may look like a record of the kernel. There are
two such parts:

- In the export form (https://systemd.io/JOURNAL_EXPORT_FORMATS), if the value of a field has a line break, the name
  of the field is on a separate line. The size in 64 bits and the unchanged value follow.
- The forms for people indent each further line of a message.
"""

from __future__ import annotations

import array
import bisect
import re
import typing as t

from .journal import LONGEST_HEADER, is_stamped

# The name of a binary field, or the beginning of an indented line.
_BEGIN = re.compile(rb"\n(?:[A-Z_][A-Z0-9_]{0,63}(\r?)\n|[ \t])")
_NUMBER_BYTES = 8
# This is more than the longest text that _BEGIN matches and the number of bytes after it.
_LOOK_AHEAD_BYTES = 80
# No field is as long as this (systemd's DATA_SIZE_MAX). In a log of another form, text follows such a line, and the
# text gives a larger number.
_TOO_LONG = 1 << 32
_REST_OF_LOG = 1 << 62
_HIDE = bytes.maketrans(b"\n\0", b"\xff\xff")


class Hidden:
    """The parts of a log that must not look like lines: values of fields, and the first blanks of indented lines."""

    def __init__(self, edges: array.array[int]) -> None:
        self._edges = edges

    def hide(self, content: bytes, position: int) -> bytes:
        """Return a piece of a log that begins at ``position``. In these parts, 0xFF replaces each byte that could begin a line.

        No header has this byte, so the module reports the text after it, and does not read it as a record.
        """
        edges, end = self._edges, position + len(content)
        # If the number of edges before a byte is even, the byte is outside of these parts.
        first = bisect.bisect_right(edges, position) // 2 * 2
        if first >= len(edges) or edges[first] >= end:
            return content
        changed = bytearray(content)
        for index in range(first, len(edges), 2):
            if edges[index] >= end:
                break
            part = slice(max(0, edges[index] - position), edges[index + 1] - position)
            inner = changed[part]
            changed[part] = b"\xff" if len(inner) == 1 else inner.translate(_HIDE)
        return bytes(changed)


def find_hidden(blocks: t.Iterable[bytes]) -> Hidden | None:
    """Return the parts of a log that must not look like lines, or ``None`` if it has no such part."""
    finder = _Finder()
    for block in blocks:
        finder.take(block)
        if finder.broken:
            break
    finder.take(b"", last=True)
    return Hidden(finder.edges) if finder.edges else None


class _Finder:
    """Searches a log block by block. ``edges`` are the offsets at which each part begins and ends, in order."""

    def __init__(self) -> None:
        self.edges = array.array("Q")
        # Whether a field does not end where its size says. Then nothing shows where the next line begins.
        self.broken = False
        # The newline is not in the log. It makes the search find a line at the beginning of the log.
        self._buffer, self._base, self._at = b"\n", -1, 0
        self._in_field = self._continued = False
        # The text at the beginning of the line in which the buffer begins, and the place of the newline before it.
        self._line, self._line_at = b"", -1
        self._last_indented = -2

    def take(self, block: bytes, last: bool = False) -> None:
        """Search the known content as far as it is long enough to show what begins at a place."""
        self._buffer += block
        while not self.broken and self._at < len(self._buffer):
            if self._in_field:
                self._end_field()
                continue
            match = _BEGIN.search(self._buffer, self._at)
            if match is None:
                sure = len(self._buffer) - (0 if last else _LOOK_AHEAD_BYTES)
                self._at = max(self._at, sure)
                break
            self._at = match.start()
            if match[1] is None:
                self._indented(match.start())
                self._at += 1
            elif match.end() + _NUMBER_BYTES <= len(self._buffer):
                self._field(match)
            else:
                break
        self._forget()

    def _field(self, match: re.Match[bytes]) -> None:
        begin = match.end()
        size = int.from_bytes(self._buffer[begin : begin + _NUMBER_BYTES], "little")
        self._at = match.end() - 1
        if size >= _TOO_LONG:
            return
        self._at = begin + _NUMBER_BYTES + size
        self._in_field = True
        self.edges.extend((self._base + begin, self._base + self._at))
        if match[1]:
            # Somebody changed each line break of the log to two bytes, also within the field, so its size is wrong.
            self._break_off()

    def _end_field(self) -> None:
        self._in_field = False
        if self._buffer[self._at : self._at + 1] != b"\n":
            self._break_off()

    def _break_off(self) -> None:
        self.broken = True
        self.edges[-1] = _REST_OF_LOG

    def _indented(self, newline: int) -> None:
        before = self._buffer.rfind(b"\n", 0, newline)
        if before >= 0:
            line, place = self._buffer[before + 1 : newline], self._base + before
        else:
            line, place = self._line + self._buffer[:newline], self._line_at
        if place != self._last_indented:
            begun = line[:LONGEST_HEADER].decode("utf-8", "surrogateescape")
            self._continued = is_stamped(begun)
        self._last_indented = self._base + newline
        if self._continued:
            self.edges.extend((self._base + newline + 1, self._base + newline + 2))

    def _forget(self) -> None:
        """Keep only the part of the content that has not been searched."""
        cut = min(self._at, len(self._buffer))
        newline = self._buffer.rfind(b"\n", 0, cut)
        if newline >= 0:
            self._line = self._buffer[newline + 1 : min(cut, newline + LONGEST_HEADER)]
            self._line_at = self._base + newline
        else:
            self._line = (self._line + self._buffer[:cut])[:LONGEST_HEADER]
        self._buffer = self._buffer[cut:]
        self._base += cut
        self._at -= cut
