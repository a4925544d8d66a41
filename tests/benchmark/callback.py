# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback audit_trail costs: the same run over a fleet, without it and with it, in turn.

    callback.py [HOSTS] [RECORDS] [ROUNDS] [FORKS]        default: 1000 100 3 10

With BENCH_ROUNDS=1 the default is 100 hosts, because two runs over 1000 hosts take four minutes.

All hosts are this machine, and a stand-in for the module returns the records. The seconds are those of ansible-playbook
from its start to its end. The processor time is that of its main process, where callbacks run, without its workers and
modules. On an idle machine a run gets longer by the processor time that the callback adds. The memory is the peak.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from ansible_collections.virtaudit.qemu.tests.benchmark.support import script
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
)

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "tests" / "support" / "stub" / "collection.py"
HOSTS = 100 if script.is_short() else 1000
WITH, WITHOUT = "with the callback", "without it"
UTILS = ROOT / "plugins" / "plugin_utils"
PLAYBOOK = [
    {
        "name": "A fleet",
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Attach",
                "virtaudit.qemu.vm_net_attach": {
                    "name": "{{ inventory_hostname }}",
                    "records": "{{ records }}",
                },
            }
        ],
    }
]


class Cost(NamedTuple):
    """The cost of one run."""

    seconds: float
    cpu: float
    peak: float


def fleet(work: Path, hosts: int, forks: int) -> None:
    """Write inventory, playbook and settings of both runs."""
    names: dict[str, dict[str, str]] = {f"hv{number:05}": {} for number in range(hosts)}
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    (work / "hosts.json").write_text(
        json.dumps({"all": {"hosts": names, "vars": local}})
    )
    (work / "fleet.yml").write_text(json.dumps(PLAYBOOK))
    (work / "ansible.cfg").write_text(f"[defaults]\nforks = {forks}\n")


def run(work: Path, records: int, callback: bool) -> Cost:
    """Run the playbook. Its output goes to a file, as in CI."""
    environment = {
        **script.plain_environment(),
        "ANSIBLE_CONFIG": str(work / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(work),
        "ANSIBLE_HOME": str(work / "home"),
        "VIRTAUDIT_TRAIL_DIR": str(work / "trail"),
        "VIRTAUDIT_TRAIL_ON_ERROR": "abort",
        # A head in the machine's journal would outlive its file.
        "VIRTAUDIT_TRAIL_ANCHOR": "none",
    }
    if callback:
        environment["ANSIBLE_CALLBACKS_ENABLED"] = "virtaudit.qemu.audit_trail"
    command = [sys.executable, "-m", "ansible", "playbook"]
    command += ["-i", str(work / "hosts.json"), "-e", f"records={records}"]
    command += [str(work / "fleet.yml")]
    output = os.open(work / "output", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        raise
    seconds = time.perf_counter() - begin
    # The process has ended and is not reaped yet. So proc(5) has its own times, without those of its children.
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    _pid, status, usage = os.wait4(pid, 0)
    os.close(output)
    if status:
        raise SystemExit((work / "output").read_text()[-2000:])
    return Cost(seconds, cpu, usage.ru_maxrss / 1024)


def check(work: Path, expected: int) -> str:
    """Check that each trail has all lines and is sound. Return the size of one trail, and the seconds of its check."""
    trails = sorted((work / "trail").iterdir())
    for trail in trails:
        with trail.open("rb") as handle:
            found = sum(1 for _line in handle)
        if found != expected:
            raise SystemExit(f"{trail} has {found} lines, not {expected}")
    size = trails[-1].stat().st_size
    begin = time.perf_counter()
    command = [sys.executable, "-m", "_trail.verify", str(trails[-1])]
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(UTILS)},
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{trails[-1]} is not sound: {done.stdout}")
    return f"a trail of {size / 1e6:.1f} MB, checked in {seconds:.2f} s"


def main(
    hosts: int = HOSTS, records: int = 100, rounds: int = 3, forks: int = 10
) -> None:
    costs: dict[str, list[Cost]] = {WITH: [], WITHOUT: []}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        subprocess.run([sys.executable, str(COLLECTION), name], check=True)
        fleet(work, hosts, forks)
        rounds = script.rounds(rounds)
        for number in range(rounds):
            script.say(f"callback: round {number + 1} of {rounds}")
            # The sides take turns to run first, because the second side finds a warmer machine.
            for label in sorted(costs, reverse=number % 2 == 0):
                costs[label].append(run(work, records, label == WITH))
        checked = check(work, hosts * records + 2)
    about = f"{hosts} hosts, {records} records each, {forks} forks"
    more = [
        after.cpu - before.cpu for after, before in zip(costs[WITH], costs[WITHOUT])
    ]
    script.finish(
        [
            _figure("seconds", "s", costs, 1.05, f"{about}; {checked}"),
            Figure(
                "processor time that the callback adds, beside the run",
                "s",
                {"added": more, "the run": [cost.seconds for cost in costs[WITHOUT]]},
                ratio=("added", "the run"),
                wanted=Wanted("at most", 0.05),
                note=about,
            ),
            _figure("peak", "MiB", costs, 1.1, about),
        ]
    )


def _figure(
    value: str, unit: str, costs: dict[str, list[Cost]], limit: float, note: str
) -> Figure:
    samples = {
        label: [getattr(cost, value) for cost in each] for label, each in costs.items()
    }
    return Figure(
        f"a run over a fleet, {value}",
        unit,
        samples,
        ratio=(WITH, WITHOUT),
        wanted=Wanted("at most", limit),
        note=note,
    )


if __name__ == "__main__":
    script.end_by_exception()
    main(*map(int, sys.argv[1:]))
