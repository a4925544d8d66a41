# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Harms the modules at every system call that matters, runs them again, and checks the invariants.

It uses real qemu, auditd, taps and macvtaps, and needs root and strace. ``--every N`` takes only samples of the
points. ``--list`` prints the points and does no harm. Words choose parts by name: a harm (``kill``), a scenario
(``hot-plug``), one of each, or ``check-mode``, ``monitor``, ``crowd``, ``cycles``.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from ansible_collections.virtaudit.qemu.tests.fault import (
    attempt,
    check_mode,
    crowd,
    cycles,
    host,
    monitor,
    runner,
    tracer,
)
from ansible_collections.virtaudit.qemu.tests.fault.harms import HARMS, Harm
from ansible_collections.virtaudit.qemu.tests.fault.samples import Samples
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import SCENARIOS, Scenario
from ansible_collections.virtaudit.qemu.tests.fault.situations import SITUATIONS

# A point in words, and the function that tries it. The function returns the result of the harmed
# task, and the violations.
Try = tuple[str, Callable[[], tuple[runner.Result, list[str]]]]


@dataclasses.dataclass
class Tally:
    """What the run has tried so far, and the number of points with a violation."""

    show_messages: bool
    tried: int = 0
    broken: int = 0

    def part(self, name: str, tries: Sequence[Try]) -> None:
        """Try each point of a part. Print the violations, and a line with the counts."""
        begun = time.monotonic()
        broken = 0
        said: Counter[str] = Counter()
        for point, trial in tries:
            result, problems = trial()
            broken += bool(problems)
            for problem in problems:
                print(f"VIOLATION {name}: {point}: {problem}", flush=True)
            if result.get("failed"):
                said[str(result.get("msg"))] += 1
        seconds = time.monotonic() - begun
        print(
            f"{name}: {len(tries)} points, {broken} with violations,"
            f" {sum(said.values())} tasks failed and said why, {seconds:.0f} s",
            flush=True,
        )
        if self.show_messages:
            for text, count in said.items():
                print(f"    {count}x {text}", flush=True)
        self.tried += len(tries)
        self.broken += broken


def main() -> int:
    """Run the parts that the command line asks for. Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--cycles", type=int, default=25)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--messages", action="store_true", help="show what tasks say")
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    tally, samples = Tally(options.messages), Samples(options.every)
    signal.signal(signal.SIGTERM, lambda *_given: sys.exit("ended by a signal"))
    with host.auditd(), host.links():
        for scenario in SCENARIOS:
            _scenario(scenario, options, samples, tally)
        _check_mode(options, tally)
        for manner in monitor.MANNERS:
            if _chosen(options.parts, "monitor", manner):
                _monitor(manner, options, tally)
        if not options.list:
            _crowd(options, tally)
            _cycles(options, tally)
    if options.list:
        return 0
    print(f"{tally.tried} points, {tally.broken} with violations")
    print(f"{tally.tried - tally.broken} passed, {tally.broken} failed")
    return 1 if tally.broken or not tally.tried else 0


def _chosen(words: list[str], *names: str) -> bool:
    return all(word in names for word in words)


def _scenario(
    scenario: Scenario, options: argparse.Namespace, samples: Samples, tally: Tally
) -> None:
    harms = [
        harm
        for harm in HARMS
        if _chosen(options.parts, harm.name, scenario.name)
        and harm.name in (scenario.harms or {harm.name})
    ]
    if not harms:
        return
    with scenario.around():
        _harm_each(scenario, harms, options, samples, tally)


def _harm_each(
    scenario: Scenario,
    harms: Sequence[Harm],
    options: argparse.Namespace,
    samples: Samples,
    tally: Tally,
) -> None:
    points = attempt.points(scenario)
    for harm in harms:
        struck = samples.choose(harm, points)
        name = f"{harm.name} {scenario.name}"
        if options.list:
            print("\n".join(f"{name}: {point}" for point in struck))
        elif struck:
            with harm.around():
                tally.part(name, [_at(scenario, harm, point) for point in struck])


def _at(scenario: Scenario, harm: Harm, point: tracer.Point) -> Try:
    return str(point), lambda: attempt.harmed(scenario, harm, point)


def _check_mode(options: argparse.Namespace, tally: Tally) -> None:
    """Try the situations, or only half of them in a short run."""
    rows: list[check_mode.Row] = []
    tries: list[Try] = [
        (each.name, functools.partial(check_mode.attempt, each, rows))
        for each in SITUATIONS[:: 1 if options.every == 1 else 2]
        if _chosen(options.parts, "check-mode", each.name)
    ]
    if options.list:
        print("\n".join(f"check-mode: {name}" for name, _try in tries))
    elif tries:
        tally.part("check-mode", tries)
        print(check_mode.table(rows), flush=True)


def _monitor(manner: str, options: argparse.Namespace, tally: Tally) -> None:
    points = monitor.points(manner)[:: options.every * monitor.EVERY]
    if options.list:
        for number, text in points:
            print(f"monitor {manner}: answer#{number} {text}")
        return
    tries = [_answered(manner, number, text) for number, text in points]
    tally.part(f"monitor {manner}", tries)


def _answered(manner: str, number: int, text: str) -> Try:
    return f"answer#{number} {text}", lambda: monitor.attempt(manner, number)


def _crowd(options: argparse.Namespace, tally: Tally) -> None:
    full = options.every == 1
    tasks, vms, rivals, rounds = (50, 20, 8, 3) if full else (12, 6, 4, 1)
    if _chosen(options.parts, "crowd"):
        tries: list[Try] = [
            (f"{tasks} tasks for one VM", lambda: ({}, crowd.overlapping(tasks))),
            (f"{vms} VMs", lambda: ({}, crowd.side_by_side(vms))),
        ]
        tries += [
            (f"{rivals} VMs for one MAC", lambda: ({}, crowd.one_mac(rivals)))
        ] * rounds
        tally.part("crowd", tries)


def _cycles(options: argparse.Namespace, tally: Tally) -> None:
    if _chosen(options.parts, "cycles"):
        problems, figures = cycles.cycles(options.cycles)
        print("\n".join(figures))
        tally.part("cycles", [(f"{options.cycles} cycles", lambda: ({}, problems))])


if __name__ == "__main__":
    raise SystemExit(main())
