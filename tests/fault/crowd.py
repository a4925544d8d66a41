# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many tasks at once: for one VM, for many VMs, and for one MAC that only one VM can have."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
import uuid as uuidlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import (
    host,
    runner,
    tracer,
    witness,
)
from ansible_collections.virtaudit.qemu.tests.fault.cut import Task
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    QEMU,
    attach,
    detach,
)

# Far more seconds than all tasks need together. A task that waits longer would wait for ever.
_PATIENCE = 200
_AT_THE_DOOR_SECONDS = 120.0


def overlapping(count: int) -> list[str]:
    """Let ``count`` tasks attach to one VM at once, each with MACs that others also have. Then detach them in the same way."""
    uuid = str(uuidlib.uuid4())
    macs = [_mac(number) for number in range(max(4, count // 5))]
    shares = [
        [macs[number % len(macs)], macs[(number + 1) % len(macs)]]
        for number in range(count)
    ]
    problems = []
    try:
        ports = {**QEMU, "hotplug_ports": len(macs)}
        _must(attach(uuid, [], ports))
        tasks = [
            attach(uuid, [_nic(mac) for mac in share], timeout=_PATIENCE)
            for share in shares
        ]
        results = _at_once(tasks, f"{host.STATE}/{uuid}")
        problems += _failures(results)
        problems += _counted(results, "attached", macs, [uuid])
        problems += witness.violations(uuid, macs, macs, True)
        tasks = [
            detach(uuid, macs=share, force=True, timeout=_PATIENCE) for share in shares
        ]
        problems += _impatient(tasks[0], f"{host.STATE}/{uuid}")
        results = _at_once(tasks, f"{host.STATE}/{uuid}")
        problems += _failures(results)
        problems += _counted(results, "revoked", macs, [uuid])
        problems += witness.violations(uuid, macs, [], True)
    finally:
        problems += _end([uuid], macs)
    return problems


def side_by_side(count: int) -> list[str]:
    """Let ``count`` VMs start at once, and stop at once."""
    uuids = [str(uuidlib.uuid4()) for _number in range(count)]
    macs = {uuid: [_mac(2 * n), _mac(2 * n + 1)] for n, uuid in enumerate(uuids)}
    everyone = [mac for pair in macs.values() for mac in pair]
    problems = []
    try:
        tasks = [
            attach(
                uuid,
                [_nic(macs[uuid][0]), _nic(macs[uuid][1], "direct")],
                QEMU,
                timeout=_PATIENCE,
            )
            for uuid in uuids
        ]
        results = _at_once(tasks, host.STATE)
        problems += _failures(results)
        problems += _counted(results, "attached", everyone, uuids)
        for uuid in uuids:
            problems += witness.violations(uuid, macs[uuid], macs[uuid], True)
        tasks = [
            detach(uuid, macs=None, stop_vm="destroy", timeout=_PATIENCE)
            for uuid in uuids
        ]
        results = _at_once(tasks, host.STATE)
        problems += _failures(results)
        problems += _counted(results, "detached", everyone, uuids)
    finally:
        problems += _end(uuids, everyone)
    return problems


def one_mac(count: int) -> list[str]:
    """Let ``count`` VMs, half of which run, ask for one MAC at once. One VM gets it, and the others are refused."""
    uuids = [str(uuidlib.uuid4()) for _number in range(count)]
    mac = _mac(0)
    problems = []
    try:
        for uuid in uuids[::2]:
            _must(attach(uuid, [], QEMU))
        tasks = [attach(uuid, [_nic(mac)], QEMU, timeout=_PATIENCE) for uuid in uuids]
        results = _at_once(tasks, host.STATE)
        winners = [
            uuid
            for uuid, result in zip(uuids, results)
            if not result.get("failed", not result)
        ]
        problems += [
            f"refused with {result.get('msg')!r}"
            for result in results
            if result.get("failed", not result)
            and "another VM has" not in str(result.get("msg"))
        ]
        if len(winners) != 1:
            problems.append(f"{len(winners)} VMs got {mac}")
        for number, uuid in enumerate(uuids):
            mine = [mac] if uuid in winners else []
            running = bool(mine) or number % 2 == 0
            # The other VMs must have no link. Their links would have the same name as this VM's.
            problems += witness.violations(uuid, [mac] if mine else [], mine, running)
    finally:
        problems += _end(uuids, [mac])
    return problems


def _at_once(tasks: list[Task], door: str) -> list[runner.Result]:
    """Run tasks side by side. No task passes the lock on ``door`` before all tasks have come to it."""
    with contextlib.ExitStack() as stack:
        with _closed(door):
            processes = [stack.enter_context(tracer.start(*task)) for task in tasks]
            deadline = time.monotonic() + _AT_THE_DOOR_SECONDS
            while not all(_waits(process) for process in processes):
                if time.monotonic() > deadline:
                    raise SystemExit("not all tasks came as far as the lock")
                time.sleep(0.05)
        return [tracer.result_of(process) for process in processes]


def _waits(process: subprocess.Popen[str]) -> bool:
    """Tell whether a task has ended, or sleeps between two attempts to take a lock."""
    if process.poll() is not None:
        return True
    with open(f"/proc/{process.pid}/wchan", encoding="ascii") as handle:
        return "nanosleep" in handle.read()


@contextlib.contextmanager
def _closed(door: str) -> Iterator[None]:
    os.makedirs(door, 0o700, exist_ok=True)
    fd = os.open(door, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _impatient(task: Task, door: str) -> list[str]:
    """A task that waits for a lock in vain names the task that holds the lock, and changes nothing."""
    name, arguments = task
    with _closed(door):
        result = runner.run_module(name, {**arguments, "timeout": 0.5})
    said = str(result.get("msg"))
    wanted = ("another task works on VM", "within 0.5 s", "nothing was changed")
    lacking = [text for text in wanted if text not in said]
    if lacking or not result.get("failed") or result["changed"]:
        return [f"a task that waits in vain says {said!r}"]
    return []


def _failures(results: list[runner.Result]) -> list[str]:
    return [
        f"task {number}: {result.get('msg', 'no result')}"
        for number, result in enumerate(results)
        if result.get("failed", not result)
    ]


def _counted(
    results: list[runner.Result], action: str, macs: list[str], uuids: list[str]
) -> list[str]:
    """Check that exactly one task attached or detached each MAC, and that this is on record once."""
    done = Counter(
        nic["mac"]
        for result in results
        for nic in result.get("interfaces", [])
        if nic["action"] == action
    )
    reasons, key = (
        (("attach", "start"), "new-net")
        if action == "attached"
        else (("detach",), "old-net")
    )
    recorded = Counter(
        each[key]
        for uuid in uuids
        for each in witness.records(uuid)
        if each.get("reason") in reasons and each["res"] == "success"
    )
    once = Counter(macs)
    return [
        f"{how}: {dict(found)}, and should be each of {macs} once"
        for how, found in ((action, done), ("on record", recorded))
        if found != once
    ]


def _end(uuids: list[str], macs: list[str]) -> list[str]:
    problems = []
    for uuid in uuids:
        runner.run_module(*detach(uuid, stop_vm="destroy"))
        problems += [
            f"at the end: {text}" for text in witness.violations(uuid, [], [], False)
        ]
        host.sweep(uuid, [])
    left = witness.links(macs)
    if left:
        problems.append(f"at the end: links {sorted(left)}")
    return problems


def _must(task: Task) -> None:
    result = runner.run_module(*task)
    if result.get("failed", not result):
        raise SystemExit(f"cannot be prepared: {result.get('msg')}")


def _mac(number: int) -> str:
    return f"52:54:00:fa:18:{number:02x}"


def _nic(mac: str, kind: str = "bridge") -> dict[str, Any]:
    source = host.BRIDGE if kind == "bridge" else host.LOWER
    return {"mac": mac, "type": kind, "source": source, "vhost": "off"}
