# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The situations that an interrupted task or the end of a VM leaves, each with the task that comes next."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time
import uuid as uuidlib
from collections.abc import Callable
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import host, qmp, runner, witness
from ansible_collections.virtaudit.qemu.tests.fault.cut import Task, cut_off
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    MACVTAP,
    PASSTHROUGH,
    QEMU,
    TAP,
    attach,
    detach,
)

RUNNING = {**QEMU, "paused": False}
NICS: list[dict[str, Any]] = [TAP, MACVTAP]

# A function that gets the UUID of the task's VM and that of another VM.
Leave = Callable[[str, str], None]


@dataclasses.dataclass(frozen=True)
class Situation:
    """A state of the host, and the ``task`` that finds it. The task is made from the UUID of its VM."""

    name: str
    leave: Leave
    task: Callable[[str], Task]


def do(task: Task) -> None:
    """Run a task that must succeed."""
    result = runner.run_module(*task)
    if result.get("failed", not result):
        raise SystemExit(f"a situation cannot be made: {result.get('msg')}")


def kill_vm(uuid: str) -> None:
    """End a VM's qemu as a crash does."""
    for pid in witness.qemus(uuid):
        os.kill(pid, signal.SIGKILL)
        # A process that is ending loses its command line before its descriptors.
        while witness.lives(pid):
            time.sleep(0.002)


def _attach_again(uuid: str) -> Task:
    return attach(uuid, NICS, QEMU)


def _detach_again(uuid: str) -> Task:
    return detach(uuid, force=True)


def _stop(uuid: str) -> Task:
    return detach(uuid, stop_vm="destroy")


def _cut(
    before: Callable[[str], list[Task]],
    task: Callable[[str], Task],
    at: str,
    **how: Any,
) -> Leave:
    def leave(uuid: str, _other: str) -> None:
        for each in before(uuid):
            do(each)
        cut_off(task(uuid), at, **how)

    return leave


def _hot_plug(at: str, **how: Any) -> Leave:
    return _cut(lambda uuid: [attach(uuid, [], QEMU)], _attach_again, at, **how)


def _start(at: str, **how: Any) -> Leave:
    return _cut(lambda _uuid: [], _attach_again, at, **how)


def _revoke(at: str, **how: Any) -> Leave:
    return _cut(lambda uuid: [_attach_again(uuid)], _detach_again, at, **how)


def _end(at: str, **how: Any) -> Leave:
    return _cut(lambda uuid: [_attach_again(uuid)], _stop, at, **how)


def _running_start(at: str) -> Leave:
    return _cut(lambda _uuid: [], lambda uuid: attach(uuid, NICS, RUNNING), at)


def _running_revoke(at: str) -> Leave:
    return _cut(lambda uuid: [attach(uuid, NICS, RUNNING)], _detach_again, at)


def _passthrough(at: str) -> Leave:
    return _cut(
        lambda uuid: [attach(uuid, [], QEMU)],
        lambda uuid: attach(uuid, [PASSTHROUGH], QEMU),
        at,
    )


def _nothing(_uuid: str, _other: str) -> None:
    pass


def _given(uuid: str, _other: str) -> None:
    do(_attach_again(uuid))


def _dead(uuid: str, _other: str) -> None:
    do(_attach_again(uuid))
    kill_vm(uuid)


def _dead_other(uuid: str, other_uuid: str) -> None:
    do(attach(uuid, [TAP], QEMU))
    do(attach(other_uuid, [MACVTAP], QEMU))
    kill_vm(other_uuid)


def _half_other(uuid: str, other_uuid: str) -> None:
    do(attach(uuid, [TAP], QEMU))
    cut_off(attach(other_uuid, [MACVTAP], QEMU), "record .*reason=start")
    kill_vm(other_uuid)


def _dead_both(uuid: str, other_uuid: str) -> None:
    _dead_other(uuid, other_uuid)
    kill_vm(uuid)


def _taken_by_hand(uuid: str, _other: str) -> None:
    """Make qemu give up a NIC's host side without a task."""
    do(_attach_again(uuid))
    netdev = f"hostnet-{MACS[0].replace(':', '')}"
    qmp.call(f"{host.STATE}/{uuid}/qmp.sock", "netdev_del", {"id": netdev})


def _moved(uuid: str, other_uuid: str) -> None:
    """Cut off an attach, and then take its link off its network, before the next task runs."""
    _hot_plug("record .*reason=attach")(uuid, other_uuid)
    link = f"vt{MACS[0].replace(':', '')}"
    subprocess.run(["ip", "link", "set", link, "nomaster"], check=True)


def _update(at: str, **how: Any) -> Leave:
    return _cut(lambda uuid: [_attach_again(uuid)], _quarantine, at, **how)


def _quarantine(uuid: str) -> Task:
    return attach(uuid, [{**TAP, "isolated": True, "link": "down"}, MACVTAP], QEMU)


def _of_another(uuid: str, _other: str) -> None:
    do(_attach_again(uuid))
    path = f"{host.STATE}/{uuid}/state.json"
    with open(path, encoding="utf-8") as handle:
        note = json.load(handle)
    with open(path, "w", encoding="utf-8") as handle:
        json.dump({**note, "uuid": str(uuidlib.uuid4())}, handle)


def _unreadable(uuid: str, _other: str) -> None:
    do(_attach_again(uuid))
    with open(f"{host.STATE}/{uuid}/state.json", "w", encoding="ascii") as handle:
        handle.write("{")


def _only_tap(uuid: str) -> Task:
    return attach(uuid, [TAP], QEMU)


def _absent(uuid: str) -> Task:
    return detach(uuid, macs=["52:54:00:fa:17:09"])


SITUATIONS = [
    Situation("nothing-attach", _nothing, _attach_again),
    Situation("nothing-detach", _nothing, _absent),
    Situation("all-attach", _given, _attach_again),
    Situation("all-detach", _given, _detach_again),
    Situation("claimed", _hot_plug("open /dev/net/tun"), _attach_again),
    Situation("opened", _hot_plug("record .*reason=open", after=True), _attach_again),
    Situation("macvtap-made", _hot_plug("open /dev/tap"), _attach_again),
    Situation("passthrough-made", _passthrough("open /dev/tap"), _attach_again),
    Situation("fds-given", _hot_plug("monitor .*netdev_add"), _attach_again),
    Situation("half-netdev", _hot_plug("monitor .*device_add"), _detach_again),
    Situation("plugged", _hot_plug("record .*reason=attach"), _attach_again),
    Situation("plugged-detach", _hot_plug("record .*reason=attach"), _detach_again),
    Situation(
        "plugged-on-record",
        _hot_plug("record .*reason=attach", after=True),
        _attach_again,
    ),
    Situation(
        "second-plugged", _hot_plug("record .*reason=attach", number=2), _attach_again
    ),
    Situation("start-opened", _start("start .*qemu.* -S"), _attach_again),
    Situation("start-unnoted", _start("start .*qemu.* -S", after=True), _attach_again),
    Situation("start-running", _start("record .*reason=start"), _attach_again),
    Situation("start-half", _start("record .*reason=start", after=True), _stop),
    Situation("start-unsaid", _start("record .*op=start"), _detach_again),
    Situation("start-said", _start("record .*op=start", after=True), _attach_again),
    Situation("not-going", _running_start('monitor .*"cont"'), _attach_again),
    Situation("revoke-begun", _revoke("monitor .*netdev_del"), _detach_again),
    Situation("revoke-closed", _revoke("record .*reason=detach"), _attach_again),
    Situation(
        "revoke-half", _revoke("record .*reason=detach", after=True), _detach_again
    ),
    Situation(
        "macvtap-left",
        _revoke("record .*reason=close", number=3, after=True),
        _only_tap,
    ),
    Situation("cards-left", _revoke("monitor .*device_del"), _detach_again),
    Situation("frozen", _running_revoke("monitor .*netdev_del"), _attach_again),
    Situation("stop-unsaid", _end("record .*op=stop"), _attach_again),
    Situation("stop-half", _end("record .*reason=close", after=True), _detach_again),
    Situation(
        "stop-said", _end("record .*reason=close", number=3, after=True), _attach_again
    ),
    Situation("dead-attach", _dead, _attach_again),
    Situation("dead-detach", _dead, _detach_again),
    Situation("dead-stop", _dead, _stop),
    Situation("dead-absent", _dead, _absent),
    Situation("dead-other", _dead_other, _only_tap),
    Situation("half-other", _half_other, _absent),
    Situation("dead-both", _dead_both, _detach_again),
    Situation("taken-by-hand", _taken_by_hand, _attach_again),
    Situation("taken-detach", _taken_by_hand, _detach_again),
    Situation("unreadable", _unreadable, _attach_again),
    Situation("of-another", _of_another, _attach_again),
    Situation("plugged-moved", _moved, _attach_again),
    Situation(
        "update-noted",
        _update("rename .*state.json", number=3, after=True),
        _quarantine,
    ),
    Situation("update-made", _update("record .*reason=update"), _quarantine),
    Situation("update-made-back", _update("record .*reason=update"), _attach_again),
    Situation(
        "update-half", _update("record .*reason=update", after=True), _detach_again
    ),
]
