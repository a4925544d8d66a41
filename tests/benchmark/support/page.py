# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the page docs/benchmarks.md from the results of a run. Pure."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    number,
    summary,
    verdict,
)

MARK = "<!-- figures: made by make bench, not by hand -->"


def markdown(run: Mapping[str, t.Any]) -> str:
    """Return the figures of a run in the form of the page. run.py writes them to JSON."""
    parts = [MARK, "", _about(run)]
    for script in run["scripts"]:
        figures = [Figure.of_json(each) for each in script["figures"]]
        parts += ["", f"### {script['title']}", ""]
        if figures:
            parts += [_table(figures), *_notes(figures)]
        else:
            parts += ["```text", script["output"].strip(), "```"]
    return "\n".join(parts) + "\n"


def put_in(page: str, figures: str) -> str:
    """Return the page with a new text from the mark on."""
    head, mark, _old = page.partition(MARK)
    if not mark:
        raise ValueError(f"the page has no line {MARK!r}")
    return head + figures


def _about(run: Mapping[str, t.Any]) -> str:
    machine = "; ".join(f"{name} {value}" for name, value in run["machine"].items())
    versions = ", ".join(f"{name} {value}" for name, value in run["versions"].items())
    return (
        f"Measured on {run['date']} with `{run['command']}` in {run['seconds'] / 60:.0f} minutes.\n\n"
        f"Machine: {machine}.\n\nVersions: {versions}."
    )


def _table(figures: Sequence[Figure]) -> str:
    lines = [
        "| what | side | median | min to max | wanted | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for figure in figures:
        wanted = str(figure.wanted or ""), verdict(figure)
        of_median = figure.wanted is not None and figure.wanted.of == "median"
        for index, (name, values) in enumerate(figure.samples.items()):
            what = figure.what if index == 0 else ""
            judged = wanted if of_median and index == 0 else ("", "")
            lines.append(_row(what, name, values, f" {figure.unit}", judged))
        if figure.ratio:
            name = f"**{figure.ratio[0]} / {figure.ratio[1]}**"
            judged = ("", "") if of_median else wanted
            lines.append(_row("", name, figure.ratios(), "x", judged))
    return "\n".join(lines)


def _row(
    what: str, name: str, values: Sequence[float], unit: str, judged: tuple[str, str]
) -> str:
    spread = summary(values)
    median = f"{number(spread['median'])}{unit}"
    low, high = number(spread["min"]), number(spread["max"])
    cells = (what, name, median, f"{low} to {high}", *judged)
    return f"| {' | '.join(cells)} |"


def _notes(figures: Sequence[Figure]) -> list[str]:
    notes = [f"- {figure.what}: {figure.note}." for figure in figures if figure.note]
    return ["", *notes] if notes else []
