# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report on a fleet takes on the controller, once the hosts have answered, and what its page takes in Chromium.

The answers are made up. Each host has 50 VMs with one NIC each, and 4 opens that nobody recorded. The seconds are those of the
process that makes the report, and the memory is its peak. The page is the page of the largest fleet.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    keep_answer,
)
from ansible_collections.virtaudit.qemu.tests.benchmark.support import script
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
)
from ansible_collections.virtaudit.qemu.tests.support.answers import answer
from ansible_collections.virtaudit.qemu.tests.support.chromium import chromium

FLEETS = (500, 100, 25)
VMS, FINDINGS = 50, 4
PACKAGE = "ansible_collections.virtaudit.qemu.plugins.plugin_utils._report"
MAKE = f"""
import json, resource, sys, time
from pathlib import Path
from {PACKAGE}.report import Request
from {PACKAGE}.write import write_report
hosts = [f"hv{{number}}" for number in range(int(sys.argv[2]))]
begin = time.monotonic()
write_report(Request(hosts, Path(sys.argv[1], "answers"), Path(sys.argv[1], sys.argv[2])))
seconds = time.monotonic() - begin
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""
PAINTED = """(async () => {
  const named = (name) => performance.getEntriesByName(name)[0];
  while (!named("first-contentful-paint")) await new Promise((done) => setTimeout(done, 20));
  return [named("first-contentful-paint").startTime, performance.getEntriesByType("navigation")[0].loadEventEnd];
})()"""


def make(work: Path, hosts: int) -> tuple[float, float, float]:
    """Make a report in a process of its own. Return its seconds, its processor time and its peak in MiB."""
    command = [sys.executable, "-c", MAKE, str(work), str(hosts)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seconds, processor, peak = json.loads(done.stdout)
    return seconds, processor, peak


def shown(page: Path) -> tuple[float, float]:
    """Return after how many seconds a page was first painted, and after how many it was loaded."""
    with chromium("--window-size=1200,900") as browser:
        browser.open(page)
        time.sleep(0.2)
        painted, loaded = browser.value(PAINTED)
    return painted / 1000, loaded / 1000


def main() -> None:
    """Measure."""
    found: dict[str, dict[str, list[float]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for number in range(max(FLEETS)):
            keep_answer(work / "answers", f"hv{number}", answer(number, VMS, FINDINGS))
        rounds = script.rounds(3)
        for number in range(rounds):
            script.say(f"report: round {number + 1} of {rounds}")
            for hosts in FLEETS:
                seconds, processor, peak = make(work, hosts)
                found["processor"][f"{hosts} hosts"].append(processor)
                found["seconds"][f"{hosts} hosts"].append(seconds)
                found["peak"][f"{hosts} hosts"].append(peak)
            page = work / str(max(FLEETS)) / "audit_report.html"
            painted, loaded = shown(page)
            found["page"]["loaded"].append(loaded)
            found["page"]["first paint"].append(painted)
        size = page.stat().st_size / 1_000_000
    about = f"{VMS} VMs and {FINDINGS} findings each"
    script.finish(
        [
            Figure(
                "making the report",
                "s",
                found["seconds"],
                wanted=Wanted("at most", 60, of="median"),
                note=about,
            ),
            Figure(
                "making the report, processor time",
                "s",
                found["processor"],
                # Five times as many hosts may take five times as long, and a fifth more at most.
                ratio=("500 hosts", "100 hosts"),
                wanted=Wanted("at most", 6),
                note=about,
            ),
            Figure(
                "making the report, memory",
                "MiB",
                found["peak"],
                wanted=Wanted("at most", 300, of="median"),
                note=about,
            ),
            Figure(
                f"the page of {max(FLEETS)} hosts in Chromium",
                "s",
                found["page"],
                wanted=Wanted("at most", 3, of="median"),
                note=f"{size:.1f} MB",
            ),
        ]
    )


if __name__ == "__main__":
    script.end_by_exception()
    main()
