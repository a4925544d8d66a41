# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Searches a log from its end to its beginning, and stops as soon as the caller does."""

from __future__ import annotations

import array
import typing as t

from .files import LogFile, spool
from .scan import BLOCK_BYTES, CONTEXT_BYTES, Line, is_boot, search, unpack

_FIRST_BLOCK_BYTES = 1 << 16


# Looks into an index and returns the lines that begin before an offset, in order. None: the index
# cannot help, search the block.
Lookup = t.Callable[[LogFile, int], t.Optional[list[Line]]]


def lines_backwards(
    log: LogFile, needles: t.Sequence[bytes], lookup: Lookup | None = None
) -> t.Iterator[Line]:
    """Yield the lines that hold one of ``needles``, last first. Read only as far as the caller asks for lines.

    Raise what :meth:`LogFile.blocks` raises.
    """
    if not log.compressed:
        yield from _backwards(log, needles, lookup)
        return
    # A packed file can be read only forwards. Put its lines into a temporary file, and read that
    # backwards.
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
    log: LogFile, needles: t.Sequence[bytes], lookup: Lookup | None
) -> t.Iterator[Line]:
    total = position = log.size
    step = _FIRST_BLOCK_BYTES
    while position > 0:
        if lookup is not None:
            found = lookup(log, position)
            if found is not None:
                yield from reversed(found)
                return
        size = min(step, position)
        position -= size
        step = min(step * 2, BLOCK_BYTES)
        found = search(log.read_at, total, position, size, needles, context=1)
        if any(
            is_boot(line) and line.offset - position < CONTEXT_BYTES for line in found
        ):
            # The record before the boot may be in the block before.
            found = search(log.read_at, total, position, size, needles, CONTEXT_BYTES)
        yield from reversed(found)
