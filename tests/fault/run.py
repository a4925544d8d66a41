# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Harms the modules at every system call that matters, runs them again, and checks the invariants.

Real qemu, auditd, taps and macvtaps; needs root and strace. ``--every N`` takes each N-th
point only, ``--list`` names the points and does no harm. Words choose parts by name: a harm
(``kill``), a scenario (``hot-plug``), or one of each.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import uuid as uuidlib
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import (
    host,
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


def main() -> int:
    """Run what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--messages", action="store_true", help="show what tasks say")
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    tried = broken = 0
    signal.signal(signal.SIGTERM, lambda *_given: sys.exit("ended by a signal"))
    with host.auditd(), host.links():
        for scenario in SCENARIOS:
            harms = [
                harm
                for harm in HARMS
                if all(word in (harm.name, scenario.name) for word in options.parts)
            ]
            points = _points(scenario) if harms else []
            for harm in harms:
                struck = [each for each in points if harm.applies(each)]
                struck = struck[:: options.every * harm.every]
                if options.list:
                    for point in struck:
                        print(f"{harm.name} {scenario.name}: {point}")
                    continue
                failures = _part(scenario, harm, struck, options.messages)
                tried += len(struck)
                broken += failures
    if options.list:
        return 0
    print(f"{tried} points, {broken} with violations")
    print(f"{tried - broken} passed, {broken} failed")
    return 1 if broken or not tried else 0


def _part(
    scenario: Scenario, harm: Harm, points: list[tracer.Point], show: bool
) -> int:
    """Do one kind of harm at each point; return at how many something was violated."""
    begun = time.monotonic()
    failures = failed = 0
    messages: dict[str, int] = {}
    with harm.around():
        for point in points:
            result, problems = _try(scenario, harm, point)
            failures += bool(problems)
            for problem in problems:
                print(
                    f"VIOLATION {harm.name} {scenario.name}: {point}: {problem}",
                    flush=True,
                )
            if result.get("failed"):
                failed += 1
                said = str(result.get("msg"))
                messages[said] = messages.get(said, 0) + 1
    seconds = time.monotonic() - begun
    ended = "all tasks ended" if harm.dies else f"{failed} tasks failed"
    print(
        f"{harm.name} {scenario.name}: {len(points)} points, {failures} with violations ({ended}), {seconds:.0f} s",
        flush=True,
    )
    if show:
        for said, count in messages.items():
            print(f"    {count}x {said}", flush=True)
    return failures


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
) -> tuple[dict[str, Any], list[str]]:
    """Harm a task at a point, run it again, and then stop the VM; return its result and what is wrong."""
    for _attempt in range(_ATTEMPTS):
        result, problems, meant = _attempt_once(scenario, harm, point)
        if meant:
            return result, problems
    return result, [f"no such call was struck in {_ATTEMPTS} attempts"]


def _attempt_once(
    scenario: Scenario, harm: Harm, point: tracer.Point
) -> tuple[dict[str, Any], list[str], bool]:
    uuid = str(uuidlib.uuid4())
    problems = []
    try:
        _prepare(scenario, uuid)
        # A run with one system call less is no violation: no harm was done then.
        result, meant = harm.do(scenario.task(uuid), point, uuid)
        if not harm.dies:
            problems += _judge(scenario, harm, result, uuid)
        alive = bool(witness.qemus(uuid))
        again = runner.run_module(*scenario.task(uuid))
        if again.get("failed", not again):
            problems.append(f"the next run fails: {again.get('msg', 'no result')}")
        problems += witness.violations(
            uuid, MACS, scenario.granted, scenario.runs_again(alive)
        )
    finally:
        end = runner.run_module(*detach(uuid, stop_vm="destroy"))
        left = witness.violations(uuid, MACS, [], False)
        host.sweep(uuid, MACS)
    if end.get("failed", not end):
        problems.append(f"the VM cannot be stopped: {end.get('msg', 'no result')}")
    return result, problems + [f"at the end: {text}" for text in left], meant


def _judge(
    scenario: Scenario, harm: Harm, result: dict[str, Any], uuid: str
) -> list[str]:
    """Return what is wrong with a task that was harmed and has ended by itself."""
    if not result or "traceback" in result:
        return [f"the task has no result: {result.get('traceback')}"]
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
