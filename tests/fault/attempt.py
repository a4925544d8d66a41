# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Harms the task of a scenario at one point, runs the task again, and checks the state after that."""

from __future__ import annotations

import re
import uuid as uuidlib

from ansible_collections.virtaudit.qemu.tests.fault import (
    host,
    runner,
    tracer,
    witness,
)
from ansible_collections.virtaudit.qemu.tests.fault.harms import Harm
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    EVERY_MAC,
    Scenario,
    detach,
)

_ATTEMPTS = 4
# A task that says this has taken back a NIC. It could not record the NIC, or could not read its network for the record.
_TAKEN_BACK = re.compile(
    "audit: |Open vSwitch's database|could not be read: No buffer space available"
)
_WAITS_FOR_GUEST = "its host side is closed, and the guest has not released it"


def points(scenario: Scenario) -> list[tracer.Point]:
    """Return the places at which a scenario's task can be harmed."""
    uuid = str(uuidlib.uuid4())
    try:
        _prepare(scenario, uuid)
        result, found = tracer.list_points(*scenario.task(uuid))
        if result.get("failed", not result):
            raise SystemExit(
                f"{scenario.name} fails without being harmed: {result.get('msg', 'no result')}"
            )
    finally:
        runner.run_module(*detach(uuid, stop_vm="destroy"))
        host.remove_filters()
    return found


def _prepare(scenario: Scenario, uuid: str) -> None:
    for name, arguments in scenario.before(uuid):
        result = runner.run_module(name, arguments)
        if result.get("failed", not result):
            raise SystemExit(
                f"{scenario.name} cannot be prepared: {result.get('msg', 'no result')}"
            )
    scenario.leaves(uuid)


def harmed(
    scenario: Scenario, harm: Harm, point: tracer.Point
) -> tuple[runner.Result, list[str]]:
    """Harm a task at a point, run it again, and then stop the VM. Return the result of the task and the violations."""
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
        # A run may make one system call less. Then no harm was done, and that is not a violation.
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
        unrecorded = harm.blind or _TAKEN_BACK.search(str(result.get("msg")))
        if unrecorded and _WAITS_FOR_GUEST in str(again.get("msg")):
            # The task has taken back what it could not record. The guest is paused, and keeps its
            # side of the NIC.
            granted = [nic["mac"] for nic in result["interfaces"]]
        elif again.get("failed", not again):
            problems.append(f"the next run fails: {again.get('msg', 'no result')}")
        problems += witness.violations(
            uuid, EVERY_MAC, granted, scenario.runs_again(alive)
        )
    finally:
        end = runner.run_module(*detach(uuid, stop_vm="destroy"))
        left = witness.violations(uuid, EVERY_MAC, [], False)
        if witness.address(host.WHOLE) != host.WHOLE_MAC:
            left.append(f"{host.WHOLE} does not have its own MAC again")
        host.sweep(uuid, EVERY_MAC)
    if end.get("failed", not end):
        problems.append(f"the VM cannot be stopped: {end.get('msg', 'no result')}")
    return result, problems + [f"at the end: {text}" for text in left], meant


def _judge(
    scenario: Scenario, harm: Harm, result: runner.Result, uuid: str
) -> list[str]:
    """Return the violations of a task that was harmed and has ended by itself."""
    if not result or "traceback" in result:
        return [f"the task has no result: {result.get('traceback')}"]
    if "please report it" in str(result.get("msg")):
        return [f"the task met an error that the code does not expect: {result['msg']}"]
    alive = bool(witness.qemus(uuid))
    if not result.get("failed"):
        # If qemu dies after the hand-over, the next run finds that out.
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
        for text in witness.violations(uuid, EVERY_MAC, granted, running)
    ]
