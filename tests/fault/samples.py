# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chooses the points that a run harms. A whole run takes all of them, and a short run takes samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ansible_collections.virtaudit.qemu.tests.fault import tracer
from ansible_collections.virtaudit.qemu.tests.fault.harms import Harm

# A short run takes each fifth of the points that a harm names in ``often``.
_OFTEN = 5


class Samples:
    """The points of one run, which takes each ``every``-th point.

    It counts the points of a harm through all scenarios. If it began anew with each scenario, a short run would
    harm each scenario in all ways, which takes many times longer.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._often = 1 if every == 1 else _OFTEN
        self._seen: Counter[tuple[str, bool]] = Counter()

    def choose(self, harm: Harm, points: Sequence[tracer.Point]) -> list[tracer.Point]:
        """Return the points of a scenario at which a run does a harm."""
        return [
            each for each in points if harm.applies(each) and self._takes(harm, each)
        ]

    def _takes(self, harm: Harm, point: tracer.Point) -> bool:
        often = re.search(harm.often, str(point)) is not None
        step = self._often if often else self._every * harm.every
        number = self._seen[harm.name, often]
        self._seen[harm.name, often] += 1
        return number % step == 0
