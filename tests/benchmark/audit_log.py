# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast the audit log is read: ausearch, auvirt and vm_net_audit_info in turn, on the same logs.

    audit_log.py [MEGABYTES] [ROUNDS]       default: 500 5

Each is a process of its own, timed from its start to its end; ours is the module's code without
Ansible around it, and is given without the start of Python too. Figures are medians; each ratio is
of one round, so that a busy moment of the machine hits both of its sides.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST = "c1e2f3a4-0001-4000-8000-000000000000"
LAST = "c1e2f3a4-0001-4000-8000-00000000ffff"
ROOT = Path(__file__).resolve().parents[2]
MAKE = Path(__file__).parent / "support" / "make_log.py"
READ = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.virtaudit.qemu.plugins.module_utils._module import audit_info
from ansible_collections.virtaudit.qemu.plugins.module_utils._module.report import Answer
options = dict.fromkeys(("name", "uuid", "mac", "since", "until"))
options.update({"events": False, "verify": False, **json.loads(sys.argv[2])})
begin, answer = time.perf_counter(), Answer()
audit_info.run(options, answer)
seconds = time.perf_counter() - begin
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps([seconds, peak, answer.stats["records"], len(answer.grants)]))
"""


def collections(work: Path) -> str:
    """Python finds the collection only by such a path."""
    parent = work / "ansible_collections" / "virtaudit"
    parent.mkdir(parents=True)
    (parent / "qemu").symlink_to(ROOT)
    return str(work)


def timed(command: list[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}")
    return time.perf_counter() - begin


class Ours:
    """The module's code in a process of its own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.peak = self.records = self.grants = 0
        self.inside = 0.0

    def __call__(self, **options: object) -> float:
        """Return the seconds of the process; ``inside`` has those of the reading alone."""
        command = [sys.executable, "-c", READ, self.path, json.dumps(options)]
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - begin
        self.inside, peak, self.records, self.grants = json.loads(done.stdout)
        self.peak = max(self.peak, peak)
        return seconds


def scan(ours: Ours, log: Path, rounds: int) -> None:
    """The full scan, side by side."""
    commands = {
        "ausearch": ["ausearch", "-if", str(log), "-m", "VIRT_RESOURCE", "--raw"]
    }
    if shutil.which("auvirt"):
        commands["auvirt"] = ["auvirt", "--file", str(log)]
    mine = ("ours", "ours without the start of Python")
    times: dict[str, list[float]] = {name: [] for name in (*mine, *commands)}
    for _round in range(rounds):
        times[mine[0]].append(ours(logs=[str(log)]))
        times[mine[1]].append(ours.inside)
        for name, command in commands.items():
            times[name].append(timed(command))
    for name, seconds in times.items():
        print(f"  {name:34}{statistics.median(seconds):8.3f} s")
    for name in commands:
        for own in mine:
            ratios = [theirs / its for theirs, its in zip(times[name], times[own])]
            goal = ", to reach: 4" if name == "ausearch" else ""
            print(
                f"  {name} / {own}: {statistics.median(ratios):.2f}"
                f" ({min(ratios):.2f} to {max(ratios):.2f}{goal})"
            )
    print(f"  {ours.records} records that matter, {ours.grants} grants")
    print(
        f"  {'peak memory of ours':34}{ours.peak / 1024:8.1f} MiB (to stay under: 64)"
    )


def one_vm(ours: Ours, log: Path, rounds: int) -> None:
    """One VM's grants, read backwards."""
    for name, uuid in (("the VM started last", LAST), ("the VM started first", FIRST)):
        inside, whole = [], []
        for _round in range(rounds):
            whole.append(ours(logs=[str(log)], uuid=uuid))
            inside.append(ours.inside * 1000)
        print(
            f"  {name:34}{statistics.median(inside):8.1f} ms"
            f" (to stay under: 50 for the last; with the start of Python {statistics.median(whole) * 1000:.0f} ms)"
        )


def main(megabytes: int = 500, rounds: int = 5) -> None:
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}"
    )
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        path = collections(work / "tree")
        for size in (megabytes, max(1, megabytes // 100)):
            log = work / f"{size}.log"
            timed([sys.executable, str(MAKE), str(size), str(log), FIRST, LAST])
            log.read_bytes() if size < 50 else timed(["cat", str(log)])
            print(f"{size} MB in the page cache")
            if size == megabytes:
                scan(Ours(path), log, rounds)
            one_vm(Ours(path), log, rounds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
