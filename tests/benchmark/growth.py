# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the time of a task grows with the NICs of its VM and with the VMs of the host, and what the kept bytecode spares it.

The VM is a small Linux under TCG. Each side is a task of one ansible-playbook. If a task finds no bytecode of the
collection on the host, it compiles the modules that it imports. Without kept bytecode each task would do that.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support import (
    host,
    playbook,
    script,
    vm,
)
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
)
from ansible_collections.virtaudit.qemu.tests.benchmark.support.playbook import (
    Task,
    Timed,
)

VM = {"name": "vabench-growth", "uuid": "be7cbe7c-0000-4000-8000-000000000201"}
COUNTS = (1, 4, 16, 64)
# The numbers of VMs on the host, including the measured VM. Each other VM has a NIC and stays paused.
VMS = (1, 10) if script.is_short() else (1, 10, 100)
BYTECODE = "/var/cache/virtaudit/bytecode"


def attach(count: int) -> Task:
    """Return the task that gives the VM so many NICs."""
    nics = [
        {"mac": f"52:54:00:be:09:{number:02x}", "source": host.BRIDGE}
        for number in range(count)
    ]
    return {vm.ATTACH: {**VM, "interfaces": nics}}


def neighbours(first: int, behind: int) -> list[Task]:
    """Return the task that starts other VMs."""
    qemu = {"accel": "tcg", "memory": "16", "paused": True, "hotplug_ports": 0}
    nic = {"mac": "52:54:00:be:0a:{{ '%02x' % item }}", "source": host.BRIDGE}
    given = {**_neighbour(), "interfaces": [nic], "qemu": qemu}
    return [{"name": "neighbours", vm.ATTACH: given, "loop": [*range(first, behind)]}]


def end_neighbours() -> Task:
    """Return the task that ends the other VMs."""
    end = {**_neighbour(), "stop_vm": "destroy"}
    return {"name": "end neighbours", vm.DETACH: end, "loop": [*range(1, max(VMS))]}


def _neighbour() -> dict[str, str]:
    return {
        "name": "vabench-growth{{ item }}",
        "uuid": "be7cbe7c-0000-4000-8000-0000000003{{ '%02x' % item }}",
    }


def among(count: int, rounds: int) -> list[Task]:
    """Return the tasks to measure when the host has so many VMs."""
    tasks = [
        {"name": f"attach among {count}", **attach(1)},
        {"name": f"again among {count}", **attach(1)},
        {"name": f"detach among {count}", vm.DETACH: {**VM, "macs": ["all"]}},
    ]
    return tasks * (rounds + 1)


def one_round() -> list[Task]:
    """Return the tasks of one round."""
    forget = {"ansible.builtin.file": {"path": BYTECODE, "state": "absent"}}
    tasks: list[Task] = []
    for count in COUNTS:
        tasks += [
            {"name": f"attach {count}", **attach(count)},
            {"name": f"again {count}", **attach(count)},
            {"name": f"noop {count}", "noop": {}},
        ]
        if count == 1:
            tasks += [
                {"name": "forget", **forget},
                {"name": "compiles", **attach(count)},
                {"name": "compiled", **attach(count)},
            ]
        tasks.append({"name": f"detach {count}", vm.DETACH: {**VM, "macs": ["all"]}})
    return tasks


def figures(times: Sequence[Timed]) -> list[Figure]:
    """Return the table."""

    def ms(task: str) -> list[float]:
        return [each.seconds * 1000 for each in times if each.task == task]

    def grown(what: str, verb: str) -> Figure:
        sides = {f"{count} NICs": ms(f"{verb} {count}") for count in COUNTS}
        return Figure(what, "ms", sides)

    same, nothing = "a re-run", "a no-op module"
    return [
        grown("attach, by NICs", "attach"),
        grown("re-run, by NICs", "again"),
        grown("detach, by NICs", "detach"),
        *(
            Figure(
                f"{what}, by VMs on the host",
                "ms",
                # The first run of each fills caches and does not count.
                {f"{count} VMs": ms(f"{verb} among {count}")[1:] for count in VMS},
                (f"{VMS[-1]} VMs", f"{VMS[0]} VMs"),
            )
            for what, verb in (
                ("attach", "attach"),
                ("re-run", "again"),
                ("detach", "detach"),
            )
        ),
        *(
            Figure(
                f"re-run, {count} NICs, beside a no-op module",
                "ms",
                {same: ms(f"again {count}"), nothing: ms(f"noop {count}")},
                (same, nothing),
                Wanted("at most", 1.25) if count in (1, 16) else None,
            )
            for count in COUNTS
        ),
        Figure(
            "re-run, 1 NIC, by bytecode",
            "ms",
            {"the host has none": ms("compiles"), "it is kept": ms("compiled")},
            ("the host has none", "it is kept"),
            note="without it Python compiles what the task imports, and the task keeps it for the next one",
        ),
    ]


def main() -> None:
    """Measure, and restore the machine."""
    rounds = script.rounds(5)
    script.end_by_exception()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        work = Path(name)
        stack.enter_context(host.auditing())
        stack.enter_context(host.bridge())
        stack.enter_context(host.state_in_memory())
        ends = [end_neighbours()]
        guest = vm.running(VM, work, memory=192, ports=max(COUNTS), at_the_end=ends)
        stack.enter_context(guest)
        script.say(f"growth: {rounds} rounds, and one before them")
        # The first round fills caches and does not count.
        tasks = [task for _number in range(rounds + 1) for task in one_round()]
        times = playbook.run(tasks, work)[len(one_round()) :]
        for before, count in zip((1, *VMS), VMS):
            script.say(f"growth: {count} VMs")
            more = neighbours(before, count) if count > before else []
            times += playbook.run([*more, *among(count, rounds)], work)
    script.finish(figures(times))


if __name__ == "__main__":
    main()
