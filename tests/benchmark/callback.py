# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback audit_trail costs: the same run over a fleet, without it and with it, in turn.

    callback.py [HOSTS] [RECORDS] [ROUNDS] [FORKS]        default: 1000 100 3 10

The hosts are this machine, the module is a stand-in that returns so many records. Seconds are those of
ansible-playbook from its start to its end, CPU seconds those of itself, where callbacks run, without its workers and
modules; memory is its peak. What it takes in CPU more with the callback, of the seconds without, is what the run gets
longer by on an idle machine. Each ratio is of one round, so that a busy moment of the machine hits both of its sides.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from ansible_collections.virtaudit.qemu.tests.benchmark.support import script

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "tests" / "support" / "stub" / "collection.py"
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
    """Of one run."""

    seconds: float
    cpu: float
    peak: float


def fleet(work: Path, hosts: int, forks: int) -> None:
    """Inventory, playbook and settings of both runs."""
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
    """Run the playbook; what it prints goes to a file, as in CI."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(work / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(work),
        "ANSIBLE_HOME": str(work / "home"),
        "VIRTAUDIT_TRAIL_DIR": str(work / "trail"),
        "VIRTAUDIT_TRAIL_ON_ERROR": "abort",
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
    # Ended, and not yet reaped: proc(5) has its own times, without those of its children.
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    _pid, status, usage = os.wait4(pid, 0)
    os.close(output)
    if status:
        raise SystemExit((work / "output").read_text()[-2000:])
    return Cost(seconds, cpu, usage.ru_maxrss / 1024)


def check(work: Path, expected: int) -> None:
    """Each trail has all lines, and is sound."""
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
    print(f"  {size / 1e6:.1f} MB a trail, checked in {seconds:.2f} s")


def main(
    hosts: int = 1000, records: int = 100, rounds: int = 3, forks: int = 10
) -> None:
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]};"
        f" {hosts} hosts, {records} records each, {forks} forks"
    )
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        subprocess.run([sys.executable, str(COLLECTION), name], check=True)
        fleet(work, hosts, forks)
        without: list[Cost] = []
        with_it: list[Cost] = []
        for number in range(rounds):
            # Which of them goes first changes, as the second finds a warmer machine.
            for callback in (False, True) if number % 2 == 0 else (True, False):
                (with_it if callback else without).append(run(work, records, callback))
        for label, costs in (("without", without), ("with it", with_it)):
            seconds, cpu, peak = (statistics.median(each) for each in zip(*costs))
            print(
                f"  {label}: {seconds:8.2f} s, CPU {cpu:8.2f} s, peak {peak:6.1f} MiB"
            )
        pairs = list(zip(without, with_it))
        figures = {
            "seconds, with / without": [b.seconds / a.seconds for a, b in pairs],
            "CPU seconds more / seconds without": [
                (b.cpu - a.cpu) / a.seconds for a, b in pairs
            ],
            "peak memory, with / without": [b.peak / a.peak for a, b in pairs],
        }
        for label, ratios in figures.items():
            print(
                f"  {label}: {statistics.median(ratios):.3f}"
                f" ({min(ratios):.3f} to {max(ratios):.3f})"
            )
        print("  to stay under: 1.05 times the seconds, 0.05 CPU seconds more")
        check(work, hosts * records + 2)


if __name__ == "__main__":
    script.end_by_exception()
    main(*map(int, sys.argv[1:]))
