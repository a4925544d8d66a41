# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kills the modules at every system call that matters, runs them again, and checks the invariants.

Real qemu, auditd, taps and macvtaps; needs root and strace. ``--every N`` takes each N-th
point only, ``--list`` names the points without killing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
import uuid as uuidlib
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import tracer, witness

BRIDGE, LOWER, PEER = "vafault-br", "vafault-lo", "vafault-pe"
TAP = {"mac": "52:54:00:fa:17:01", "source": BRIDGE, "queues": 2}
MACVTAP = {
    "mac": "52:54:00:fa:17:02",
    "source": LOWER,
    "type": "direct",
    "mode": "bridge",
    "vhost": "off",
}
MACS = [str(TAP["mac"]), str(MACVTAP["mac"])]
# Nothing catches SIGTERM, so it is tried at fewer points than SIGKILL.
TERMINATED_EVERY = 5
QEMU = {"accel": "tcg", "memory": "64", "paused": True}

Task = tuple[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A task to kill, what is done before it, and what is true when it has been run again."""

    name: str
    before: Callable[[str], list[Task]]
    task: Callable[[str], Task]
    granted: list[str]
    running: bool = True


def attach(
    uuid: str, interfaces: list[dict[str, Any]], qemu: dict[str, Any] | None = None
) -> Task:
    """Return an attach of a VM that is named after its UUID."""
    return "vm_net_attach", {
        "name": "vafault",
        "uuid": uuid,
        "interfaces": interfaces,
        "qemu": qemu,
    }


def detach(uuid: str, **options: Any) -> Task:
    """Return a detach of all NICs."""
    return "vm_net_detach", {
        "name": "vafault",
        "uuid": uuid,
        "macs": ["all"],
        **options,
    }


SCENARIOS = [
    Scenario(
        "cold-start",
        lambda _uuid: [],
        lambda uuid: attach(uuid, [TAP, MACVTAP], QEMU),
        MACS,
    ),
    Scenario(
        "hot-plug",
        lambda uuid: [attach(uuid, [], QEMU)],
        lambda uuid: attach(uuid, [TAP, MACVTAP]),
        MACS,
    ),
    Scenario(
        "revoke",
        lambda uuid: [attach(uuid, [TAP, MACVTAP], QEMU)],
        lambda uuid: detach(uuid, force=True, timeout=0.2),
        [],
    ),
    Scenario(
        "stop",
        lambda uuid: [attach(uuid, [TAP, MACVTAP], QEMU)],
        lambda uuid: detach(uuid, stop_vm="destroy"),
        [],
        running=False,
    ),
]


def main() -> int:
    """Run what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument(
        "scenarios", nargs="*", default=[scenario.name for scenario in SCENARIOS]
    )
    options = parser.parse_args()
    tried = broken = 0
    signal.signal(signal.SIGTERM, lambda *_given: sys.exit("ended by a signal"))
    with _auditd(), _links():
        for scenario in SCENARIOS:
            if scenario.name not in options.scenarios:
                continue
            begun = time.monotonic()
            points = _points(scenario)[:: options.every]
            points += [
                dataclasses.replace(point, signal="SIGTERM")
                for point in points[::TERMINATED_EVERY]
            ]
            if options.list:
                print("\n".join(f"{scenario.name}: {point}" for point in points))
                continue
            failures = 0
            for point in points:
                problems = _try(scenario, point)
                failures += bool(problems)
                for problem in problems:
                    print(f"VIOLATION {scenario.name}: {point}: {problem}", flush=True)
            tried += len(points)
            broken += failures
            seconds = time.monotonic() - begun
            print(
                f"{scenario.name}: {len(points)} points, {failures} with violations, {seconds:.0f} s",
                flush=True,
            )
    if options.list:
        return 0
    print(f"{tried - broken} passed, {broken} failed")
    return 1 if broken or not tried else 0


def _points(scenario: Scenario) -> list[tracer.Point]:
    uuid = str(uuidlib.uuid4())
    try:
        _prepare(scenario, uuid)
        result, points = tracer.list_points(*scenario.task(uuid))
        if result.get("failed", not result):
            raise SystemExit(
                f"{scenario.name} fails without being killed: {result.get('msg', 'no result')}"
            )
    finally:
        tracer.run_module(*detach(uuid, stop_vm="destroy"))
    return points


def _prepare(scenario: Scenario, uuid: str) -> None:
    for name, arguments in scenario.before(uuid):
        result = tracer.run_module(name, arguments)
        if result.get("failed", not result):
            raise SystemExit(
                f"{scenario.name} cannot be prepared: {result.get('msg', 'no result')}"
            )


def _try(scenario: Scenario, point: tracer.Point) -> list[str]:
    """Kill at a point, run the task again, and then stop the VM; return what is wrong."""
    uuid = str(uuidlib.uuid4())
    problems = []
    try:
        _prepare(scenario, uuid)
        # A run with one system call less is no violation: the task was not killed then.
        tracer.kill_at(*scenario.task(uuid), point)
        again = tracer.run_module(*scenario.task(uuid))
        if again.get("failed", not again):
            problems.append(f"the next run fails: {again.get('msg', 'no result')}")
        problems += witness.violations(uuid, MACS, scenario.granted, scenario.running)
    finally:
        end = tracer.run_module(*detach(uuid, stop_vm="destroy"))
    if end.get("failed", not end):
        problems.append(f"the VM cannot be stopped: {end.get('msg', 'no result')}")
    return problems + [
        f"at the end: {text}" for text in witness.violations(uuid, MACS, [], False)
    ]


@contextlib.contextmanager
def _auditd() -> Iterator[None]:
    """Start the audit daemon where none runs, and end then what was started."""
    running = _daemon()
    if not running:
        systemd = os.path.isdir("/run/systemd/system")
        start = ["systemctl", "start", "auditd"] if systemd else ["auditd"]
        subprocess.run(start, check=True)
        while not _daemon():
            time.sleep(0.1)
    try:
        yield
    finally:
        if not running:
            os.kill(_daemon(), signal.SIGTERM)


def _daemon() -> int:
    status = subprocess.run(
        ["auditctl", "-s"], capture_output=True, text=True, check=True
    )
    match = re.search(r"^pid (\d+)$", status.stdout, re.MULTILINE)
    return int(match[1]) if match else 0


@contextlib.contextmanager
def _links() -> Iterator[None]:
    commands = [
        f"link add {BRIDGE} type bridge",
        f"link set {BRIDGE} up",
        f"link add {LOWER} type veth peer name {PEER}",
        f"link set {LOWER} up",
        f"link set {PEER} up",
    ]
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        yield
    finally:
        for name in (BRIDGE, LOWER):
            subprocess.run(["ip", "link", "del", name], check=False)


if __name__ == "__main__":
    raise SystemExit(main())
