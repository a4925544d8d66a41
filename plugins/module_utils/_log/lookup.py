# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides when a backward search uses the index of a log, and when it makes one."""

from __future__ import annotations

import typing as t

from .files import LogFile
from .forwards import lines_with
from .lines import NAMELESS_NEEDLE, VIRT_NEEDLE
from .scan import BOOT_NEEDLES, Line

# A search of this many bytes takes no longer than a look into an index, and one of the other number
# no longer than making an index.
NEAR_BYTES = 1 << 22
SMALLEST_BYTES = 1 << 25


class Lookup:
    """Finds the lines with some terms through the index of a log. If a search goes far, it makes the index.

    The terms are those of :func:`index.terms_of`. ``keep`` allows it to write an index.
    """

    def __init__(self, terms: t.Sequence[str], keep: bool) -> None:
        self._terms = [term.encode("utf-8", "surrogateescape") for term in terms]
        self._keep = keep
        # Try this once. If no index can be made of the log, all of it is searched.
        self._tried: set[str] = set()

    def __call__(self, log: LogFile, before: int) -> list[Line] | None:
        """Return the lines that begin before an offset, in order, or ``None`` if the caller has to search for them."""
        searched = log.size - before
        if before < SMALLEST_BYTES or searched < NEAR_BYTES:
            return None
        # The import is here because most questions are about the newest records, and the import takes longer than such
        # a search.
        from . import index

        known = index.load(log)
        missing = known is None or known.covered < before
        far = searched >= SMALLEST_BYTES and log.path not in self._tried
        if self._keep and missing and far:
            self._tried.add(log.path)
            known = index.build(
                log, lines_with(log, [VIRT_NEEDLE, NAMELESS_NEEDLE, *BOOT_NEEDLES])
            )
        if known is None or known.covered < before:
            return None
        return known.lines(log, self._terms, before)
