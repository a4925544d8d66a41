# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Searches a log from its end to its begin, no further than it is asked to."""

from __future__ import annotations

import array
import typing as t

from .files import LogFile, spool
from .scan import BLOCK_BYTES, Line, ReadAt, search, unpack

_FIRST_BLOCK_BYTES = 1 << 16


def lines_backwards(log: LogFile, needles: t.Sequence[bytes]) -> t.Iterator[Line]:
    """Yield the lines that hold one of ``needles``, last first. Reads no further than it is asked to.

    Raises as :meth:`LogFile.blocks`.
    """
    if not log.compressed:
        yield from _backwards(log.read_at, log.size, needles)
        return
    # What is packed can be read only forwards: put the lines aside, and read those backwards.
    with spool() as aside:
        places = array.array("Q")
        for lines in unpack(log, needles):
            for line in lines:
                places.extend((line.offset, len(line.text)))
                aside.write(line.text)
        position = aside.tell()
        while places:
            size, offset = places.pop(), places.pop()
            position -= size
            aside.seek(position)
            yield Line(aside.read(size), b"", offset)


def _backwards(
    read_at: ReadAt, position: int, needles: t.Sequence[bytes]
) -> t.Iterator[Line]:
    total = position
    step = _FIRST_BLOCK_BYTES
    while position > 0:
        size = min(step, position)
        position -= size
        step = min(step * 2, BLOCK_BYTES)
        found = search(read_at, total, position, size, needles, context=1)
        yield from reversed(found)
