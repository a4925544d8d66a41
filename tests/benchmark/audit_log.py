# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log: ausearch, auvirt and vm_net_audit_info in turn, on the same logs.

    audit_log.py [MEGABYTES] [ROUNDS]       default: 500 5

Each program is a process of its own. The time goes from its start to its end. Our side is the module's code without
Ansible. A second figure of it leaves out the start of Python. The peak memory is the sum over the process and its
children, as if they shared no memory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support import script
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
)

FIRST = "c1e2f3a4-0001-4000-8000-000000000000"
LAST = "c1e2f3a4-0001-4000-8000-00000000ffff"
MAKE = Path(__file__).parent / "support" / "make_log.py"
READ = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.virtaudit.qemu.plugins.module_utils._children import CHILDREN
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import (audit_info)
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.answer import Answer
options = dict.fromkeys(("name", "uuid", "mac", "since", "until"))
options.update({"events": False, "verify": False, "history": False, **json.loads(sys.argv[2])})
begin, answer = time.perf_counter(), Answer()
audit_info.run(options, answer)
seconds = time.perf_counter() - begin
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
peak += CHILDREN * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([seconds, peak, answer.stats["records"], len(answer.grants)]))
"""


def collections(work: Path) -> str:
    """Make a path by which Python finds the collection."""
    parent = work / "ansible_collections" / "virtaudit"
    parent.mkdir(parents=True)
    (parent / "qemu").symlink_to(script.ROOT)
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
        """Return the seconds of the process. ``inside`` has the seconds of the reading alone."""
        command = [sys.executable, "-c", READ, self.path, json.dumps(options)]
        begin = time.perf_counter()
        done = subprocess.run(
            command,
            env=script.plain_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - begin
        self.inside, peak, self.records, self.grants = json.loads(done.stdout)
        self.peak = max(self.peak, peak)
        return seconds


def scan(ours: Ours, log: Path, rounds: int) -> list[Figure]:
    """Compare the full scans of all programs."""
    commands = {
        "ausearch": ["ausearch", "-if", str(log), "-m", "VIRT_RESOURCE", "--raw"]
    }
    if shutil.which("auvirt"):
        commands["auvirt"] = ["auvirt", "--file", str(log)]
    whole, reading = "ours", "ours without the start of Python"
    times: dict[str, list[float]] = {name: [] for name in (whole, reading, *commands)}
    for _round in range(rounds):
        times[whole].append(ours(logs=[str(log)]))
        times[reading].append(ours.inside)
        for name, command in commands.items():
            times[name].append(timed(command))
    size = f"{log.stat().st_size // 1_000_000} MB"
    note = f"{ours.records} records that matter, {ours.grants} grants"
    wanted = {"ausearch": Wanted("at least", 4)}
    figures = [
        Figure(
            f"full scan of {size}",
            "s",
            {one: times[one] for one in (whole, reading, name)},
            (name, whole),
            wanted.get(name),
            note if name == "ausearch" else "",
        )
        for name in commands
    ]
    peak = {"ours": [ours.peak / 1024]}
    limit = Wanted("at most", 64, "median")
    return [*figures, Figure("peak memory of it", "MiB", peak, wanted=limit)]


def one_vm(ours: Ours, log: Path, rounds: int) -> list[Figure]:
    """Measure the grants of one VM, for which the module reads the log backwards."""
    size = f"{log.stat().st_size // 1_000_000} MB"
    figures = []
    for name, uuid in (("started last", LAST), ("started first", FIRST)):
        inside, whole = [], []
        for _round in range(rounds):
            whole.append(ours(logs=[str(log)], uuid=uuid) * 1000)
            inside.append(ours.inside * 1000)
        sides = {"ours without the start of Python": inside, "ours": whole}
        wanted = Wanted("at most", 50, "median") if uuid == LAST else None
        what = f"grants of the VM {name}, of {size}"
        figures.append(Figure(what, "ms", sides, wanted=wanted))
    return figures


def main(megabytes: int = 500, rounds: int | None = None) -> None:
    rounds = rounds or script.rounds(5)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        path = collections(work / "tree")
        for size in (megabytes, max(1, megabytes // 100)):
            log = work / f"{size}.log"
            script.say(f"audit_log: {size} MB")
            timed([sys.executable, str(MAKE), str(size), str(log), FIRST, LAST])
            log.read_bytes() if size < 50 else timed(["cat", str(log)])
            if size == megabytes:
                figures += scan(Ours(path), log, rounds)
            figures += one_vm(Ours(path), log, rounds)
    script.finish(figures)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
