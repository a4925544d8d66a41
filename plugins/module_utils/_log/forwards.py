# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Searches a log from its beginning to its end. Children search while the parent judges what they found."""

from __future__ import annotations

import typing as t

from .._children import spread
from . import scan
from .files import LogFile
from .scan import Line


def lines_with(log: LogFile, needles: t.Sequence[bytes]) -> t.Iterator[Line]:
    """Yield the lines that hold one of ``needles``, in the log's order, each once.

    Raise what :meth:`LogFile.blocks` raises.
    """
    for lines in (scan.unpack if log.compressed else _search_all)(log, needles):
        yield from lines


def _search_all(log: LogFile, needles: t.Sequence[bytes]) -> t.Iterator[list[Line]]:
    starts = range(0, log.size, scan.BLOCK_BYTES)

    def search(index: int) -> list[tuple[bytes, bytes, int]]:
        start = starts[index]
        size = min(scan.BLOCK_BYTES, log.size - start)
        found = scan.search(
            log.read_at, log.size, start, size, needles, scan.CONTEXT_BYTES
        )
        return [(line.text, line.before, line.offset) for line in found]

    for found in spread(search, len(starts)):
        yield [Line(*each) for each in found]
