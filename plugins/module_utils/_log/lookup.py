# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a log that is read backwards is looked up in its index, and when that is made."""

from __future__ import annotations

import typing as t

from . import index
from .files import LogFile
from .forwards import lines_with
from .lines import NAMELESS_NEEDLE, VIRT_NEEDLE
from .scan import BOOT_NEEDLES, Line


class Lookup:
    """Finds the lines with some terms by the index of a log, which is made when the search has gone far.

    Terms are as :func:`index.terms_of` has them. ``keep``: an index may be written down.
    """

    def __init__(self, terms: t.Sequence[str], keep: bool) -> None:
        self._terms = [term.encode("utf-8", "surrogateescape") for term in terms]
        self._keep = keep
        # Once: of a log that no index can be made of, all is searched.
        self._tried: set[str] = set()

    def __call__(self, log: LogFile, before: int) -> list[Line] | None:
        """Return the lines that begin before an offset, in order; ``None``: they have to be searched."""
        searched = log.size - before
        if before < index.SMALLEST_BYTES or searched < index.NEAR_BYTES:
            return None
        known = index.load(log)
        missing = known is None or known.covered < before
        far = searched >= index.SMALLEST_BYTES and log.path not in self._tried
        if self._keep and missing and far:
            self._tried.add(log.path)
            known = index.build(
                log, lines_with(log, [VIRT_NEEDLE, NAMELESS_NEEDLE, *BOOT_NEEDLES])
            )
        if known is None or known.covered < before:
            return None
        return known.lines(log, self._terms, before)
