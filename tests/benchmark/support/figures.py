# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The results of a measurement: the samples of each side, their ratios, and the figure to reach. Pure."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t
from collections.abc import Mapping, Sequence

Bound = t.Literal["at least", "at most"]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The figure to reach. ``of`` tells whether it is about the ratio, or about the median of the first side."""

    bound: Bound
    value: float
    of: t.Literal["ratio", "median"] = "ratio"

    def __str__(self) -> str:
        return f"{self.bound} {self.value:g}{'x' if self.of == 'ratio' else ''}"

    def is_reached(self, value: float) -> bool:
        """Tell whether a median is good enough."""
        return value >= self.value if self.bound == "at least" else value <= self.value


@dataclasses.dataclass(frozen=True)
class Figure:
    """One comparison.

    ``samples`` has the values of each side in ``unit``, one for each round. ``ratio`` names the two sides to divide.
    The ratio is computed for each round, so that a busy moment of the machine affects both sides.
    """

    what: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    ratio: tuple[str, str] | None = None
    wanted: Wanted | None = None
    note: str = ""

    @classmethod
    def of_json(cls, data: dict[str, t.Any]) -> Figure:
        """Build a figure from the value that :meth:`to_json` returned."""
        wanted = Wanted(**data["wanted"]) if data["wanted"] else None
        ratio = tuple(data["ratio"]["of"]) if data["ratio"] else None
        samples = {side["name"]: side["samples"] for side in data["sides"]}
        return cls(data["what"], data["unit"], samples, ratio, wanted, data["note"])

    def ratios(self) -> list[float]:
        """Return the first side of the ratio divided by the second, for each round."""
        if self.ratio is None:
            return []
        first, second = (self.samples[name] for name in self.ratio)
        return [one / other for one, other in zip(first, second)]

    def judged(self) -> float:
        """Return the median that the figure to reach is about."""
        if self.wanted is not None and self.wanted.of == "ratio":
            return statistics.median(self.ratios())
        return statistics.median(next(iter(self.samples.values())))

    def is_reached(self) -> bool | None:
        """Tell whether the figure is reached, or return ``None`` if there is no figure to reach."""
        return None if self.wanted is None else self.wanted.is_reached(self.judged())

    def to_json(self) -> dict[str, t.Any]:
        """Return all values, including the samples."""
        ratios = self.ratios()
        return {
            "what": self.what,
            "unit": self.unit,
            "sides": [
                {"name": name, **summary(values), "samples": list(values)}
                for name, values in self.samples.items()
            ],
            "ratio": {"of": self.ratio, **summary(ratios)} if ratios else None,
            "wanted": dataclasses.asdict(self.wanted) if self.wanted else None,
            "reached": self.is_reached(),
            "note": self.note,
        }


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest value."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def number(value: float) -> str:
    """Return a value with about three digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def verdict(figure: Figure) -> str:
    """Return ``reached`` or ``not reached``, or nothing if there is no figure to reach."""
    return {None: "", True: "reached", False: "not reached"}[figure.is_reached()]


def text_table(figures: Sequence[Figure]) -> str:
    """Return the figures for a terminal."""
    lines = []
    for figure in figures:
        lines.append(figure.what)
        for name, values in figure.samples.items():
            lines.append(f"  {name:<52}{_spread(values)} {figure.unit}")
        ratios = figure.ratios()
        if figure.ratio and ratios:
            name = f"{figure.ratio[0]} / {figure.ratio[1]}"
            lines.append(f"  {name:<52}{_spread(ratios)} x")
        if figure.wanted:
            lines.append(f"  wanted {figure.wanted}: {verdict(figure)}")
        if figure.note:
            lines.append(f"  ({figure.note})")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return f"{number(statistics.median(values)):>9} ({low} to {high})"
