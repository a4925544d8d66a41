# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the time of a task grows with the hosts of a fleet, and what ansible.cfg does about it.

There are no real hosts. Each host is a stub on this machine that waits as long as a network and a module would. So the
figures show only the controller's own work. The times of a round trip and of a module are given below. The module's
time is the time of a re-run that changes nothing on one NIC, which nics.py measures on this machine.
"""

from __future__ import annotations

import dataclasses
import tempfile
import typing as t
from collections.abc import Callable
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support import playbook, script
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import Figure

TRIP_SECONDS, MODULE_SECONDS = 0.02, 0.4
FLEETS = (20, 100) if script.is_short() else (20, 100, 500)
FORKS = (5, 25, 50, 100)
# For the strategies: how much longer a module takes in one of ten cases, and how many tasks run one after the other.
SLOW_SECONDS, TASKS = 2.0, 4


def task(name: str = "fleet") -> playbook.Task:
    """Return a typical task of a fleet, with several NICs of one VM."""
    nics = [
        {"mac": f"52:54:00:be:f1:{number:02x}", "source": "br0"} for number in range(4)
    ]
    arguments = {"name": "vabench", "interfaces": nics}
    return {"name": name, "virtaudit.qemu.vm_net_attach": arguments}


def seconds(
    work: Path,
    hosts: int,
    forks: int = 50,
    pipelining: bool = True,
    tasks: int = 1,
    slow: float = 0,
    strategy: str = "linear",
) -> float:
    """Return how long the tasks take on all hosts."""
    times = playbook.run(
        [task(f"fleet {number}") for number in range(tasks)],
        work,
        hosts,
        {
            "ANSIBLE_FORKS": str(forks),
            "ANSIBLE_PIPELINING": str(pipelining),
            "BENCH_TRIP_SECONDS": str(TRIP_SECONDS),
            "BENCH_MODULE_SECONDS": str(MODULE_SECONDS),
            "BENCH_SLOW_SECONDS": str(slow),
        },
        strategy=strategy,
    )
    return next(each.seconds for each in times if each.task == "the play")


def sides(work: Path) -> dict[str, dict[str, Callable[[], float]]]:
    """Return the sides of each figure."""

    def one(hosts: int, **how: t.Any) -> Callable[[], float]:
        return lambda: seconds(work, hosts, **how)

    return {
        "one task, by hosts": {
            f"{hosts} hosts, 50 forks": one(hosts) for hosts in FLEETS
        },
        "one task, by forks": {
            f"100 hosts, {forks} forks": one(100, forks=forks) for forks in FORKS
        },
        "one task, by pipelining": {
            f"100 hosts, 25 forks, pipelining {'on' if on else 'off'}": one(
                100, forks=25, pipelining=on
            )
            for on in (True, False)
        },
        f"{TASKS} tasks, by strategy": {
            f"100 hosts, 50 forks, {strategy}": one(
                100, tasks=TASKS, slow=SLOW_SECONDS, strategy=strategy
            )
            for strategy in ("linear", "free")
        },
    }


def main() -> None:
    """Measure."""
    rounds = script.rounds(2)
    about = f"round trip {TRIP_SECONDS * 1000:.0f} ms, module {MODULE_SECONDS * 1000:.0f} ms"
    samples: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(rounds):
            script.say(f"fleet: round {number + 1} of {rounds}")
            for what, measures in sides(Path(name)).items():
                for side, measure in measures.items():
                    found = samples.setdefault(what, {}).setdefault(side, [])
                    found.append(measure())
    figures = [
        Figure(what, "s", values, note=about) for what, values in samples.items()
    ]
    slow = f"{about}, one in ten {SLOW_SECONDS:.0f} s longer"
    figures[-1] = dataclasses.replace(figures[-1], note=slow)
    script.finish(figures)


if __name__ == "__main__":
    main()
