# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Harms the modules at every system call that matters, runs them again, and checks the invariants.

Real qemu, auditd, taps and macvtaps; needs root and strace. ``--every N`` takes each N-th
point only, ``--list`` names the points and does no harm. Words choose parts by name: a harm
(``kill``), a scenario (``hot-plug``), or one of each; ``monitor``, ``crowd``, ``cycles``.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time
import uuid as uuidlib
from collections import Counter
from collections.abc import Callable, Sequence

from ansible_collections.virtaudit.qemu.tests.fault import (
    crowd,
    cycles,
    host,
    monitor,
    runner,
    tracer,
    witness,
)
from ansible_collections.virtaudit.qemu.tests.fault.harms import HARMS, Harm
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    SCENARIOS,
    Scenario,
    detach,
)

_ATTEMPTS = 4
_WAITS_FOR_GUEST = "its host side is closed, and the guest has not let go of it"

# A point in words, and what tries it: returns the result of the task that was harmed, and what is wrong.
Try = tuple[str, Callable[[], tuple[runner.Result, list[str]]]]


@dataclasses.dataclass
class Tally:
    """What was tried so far, and at how many points something was violated."""

    show_messages: bool
    tried: int = 0
    broken: int = 0

    def part(self, name: str, tries: Sequence[Try]) -> None:
        """Try each point of a part, and print what is wrong and a line with the counts."""
        begun = time.monotonic()
        broken = 0
        said: Counter[str] = Counter()
        for point, attempt in tries:
            result, problems = attempt()
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
    """Run what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--cycles", type=int, default=25)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--messages", action="store_true", help="show what tasks say")
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    tally = Tally(options.messages)
    signal.signal(signal.SIGTERM, lambda *_given: sys.exit("ended by a signal"))
    with host.auditd(), host.links():
        for scenario in SCENARIOS:
            _scenario(scenario, options, tally)
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


def _scenario(scenario: Scenario, options: argparse.Namespace, tally: Tally) -> None:
    harms = [
        harm
        for harm in HARMS
        if _chosen(options.parts, harm.name, scenario.name)
        and harm.name in (scenario.harms or {harm.name})
    ]
    points = _points(scenario) if harms else []
    for harm in harms:
        struck = harm.choose(points, options.every)
        name = f"{harm.name} {scenario.name}"
        if options.list:
            print("\n".join(f"{name}: {point}" for point in struck))
        elif struck:
            with harm.around():
                tally.part(name, [_at(scenario, harm, point) for point in struck])


def _at(scenario: Scenario, harm: Harm, point: tracer.Point) -> Try:
    return str(point), lambda: _try(scenario, harm, point)


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


def _points(scenario: Scenario) -> list[tracer.Point]:
    uuid = str(uuidlib.uuid4())
    try:
        _prepare(scenario, uuid)
        result, points = tracer.list_points(*scenario.task(uuid))
        if result.get("failed", not result):
            raise SystemExit(
                f"{scenario.name} fails without being harmed: {result.get('msg', 'no result')}"
            )
    finally:
        runner.run_module(*detach(uuid, stop_vm="destroy"))
    return points


def _prepare(scenario: Scenario, uuid: str) -> None:
    for name, arguments in scenario.before(uuid):
        result = runner.run_module(name, arguments)
        if result.get("failed", not result):
            raise SystemExit(
                f"{scenario.name} cannot be prepared: {result.get('msg', 'no result')}"
            )


def _try(
    scenario: Scenario, harm: Harm, point: tracer.Point
) -> tuple[runner.Result, list[str]]:
    """Harm a task at a point, run it again, and then stop the VM; return its result and what is wrong."""
    for _attempt in range(_ATTEMPTS):
        result, problems, meant = _attempt_once(scenario, harm, point)
        if meant:
            return result, problems
    return result, [f"no such call was struck in {_ATTEMPTS} attempts"]


def _attempt_once(
    scenario: Scenario, harm: Harm, point: tracer.Point
) -> tuple[runner.Result, list[str], bool]:
    uuid = str(uuidlib.uuid4())
    problems = []
    try:
        _prepare(scenario, uuid)
        # A run with one system call less is no violation: no harm was done then.
        result, meant = harm.do(scenario.task(uuid), point, uuid)
        if not harm.dies:
            problems += _judge(scenario, harm, result, uuid)
        alive, going = bool(witness.qemus(uuid)), witness.going(uuid)
        again = runner.run_module(*scenario.task(uuid))
        if scenario.running and set(going) - set(witness.qemus(uuid)):
            problems.append("the next run ended a guest that ran")
        if scenario.goes and not witness.going(uuid):
            problems.append("the guest does not run after the next run")
        granted = scenario.granted
        unrecorded = harm.blind or "audit: " in str(result.get("msg"))
        if unrecorded and _WAITS_FOR_GUEST in str(again.get("msg")):
            # What could not be recorded was taken back; the guest is paused, and keeps its side of it.
            granted = [nic["mac"] for nic in result["interfaces"]]
        elif again.get("failed", not again):
            problems.append(f"the next run fails: {again.get('msg', 'no result')}")
        problems += witness.violations(uuid, MACS, granted, scenario.runs_again(alive))
    finally:
        end = runner.run_module(*detach(uuid, stop_vm="destroy"))
        left = witness.violations(uuid, MACS, [], False)
        host.sweep(uuid, MACS)
    if end.get("failed", not end):
        problems.append(f"the VM cannot be stopped: {end.get('msg', 'no result')}")
    return result, problems + [f"at the end: {text}" for text in left], meant


def _judge(
    scenario: Scenario, harm: Harm, result: runner.Result, uuid: str
) -> list[str]:
    """Return what is wrong with a task that was harmed and has ended by itself."""
    if not result or "traceback" in result:
        return [f"the task has no result: {result.get('traceback')}"]
    if "please report it" in str(result.get("msg")):
        return [f"nobody foresaw what the task met: {result['msg']}"]
    alive = bool(witness.qemus(uuid))
    if not result.get("failed"):
        # A qemu that dies when all is handed over is found by the next run.
        if harm.blind or (scenario.running and not alive):
            return []
        return _truth(scenario.granted, scenario.running, uuid)
    problems = []
    if not harm.explains(result):
        problems.append(f"the task says {result['msg']!r}")
    if scenario.name == "cold-start" and alive:
        problems.append("the start failed, and qemu runs")
    if scenario.name == "hot-plug" and alive:
        given = [nic["mac"] for nic in result["interfaces"]]
        held = sum(len(nic["devices"]) for nic in result["interfaces"])
        pid = witness.qemus(uuid)[0]
        if len(witness.held(pid)) != held and "still holds" not in result["msg"]:
            problems.append(
                f"attached {given}, and qemu holds {witness.held(pid)} after {result['msg']!r}"
            )
    return problems


def _truth(granted: list[str], running: bool, uuid: str) -> list[str]:
    return [
        f"after its success: {text}"
        for text in witness.violations(uuid, MACS, granted, running)
    ]


if __name__ == "__main__":
    raise SystemExit(main())
