# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends a VM, waits until its companion unit is done, and reports what the host shows of the end.

It runs on the hypervisor as root, with a JSON object as its argument: vm as the module returned it, how to end it (kill,
oom, quit, scope, or none if it has ended already), the reason that should be on record, and the macs. It prints JSON:
the seconds from qemu's death to the last record of the end, the auids of the records of the end, and problems, each a
sentence. It shares no code with the collection.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RECORD = re.compile(
    r"(?:node=\S+ )?type=(\w+) msg=audit\(([\d.]+):(\d+)\): (.*?) msg='(.*)'"
)
FIELD = re.compile(r'([\w-]+)=("[^"]*"|\S+)')
WAIT_SECONDS = 300

Record = dict[str, str]


def fields(text: str) -> Record:
    return {name: value.strip('"') for name, value in FIELD.findall(text)}


def read_log(uuid: str) -> list[Record]:
    # Without --input-logs ausearch reads its standard input, if that is not a terminal.
    command = ["ausearch", "--input-logs", "--uuid", uuid, "--raw"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    records = []
    # splitlines() would be wrong here, because the 0x1D before an enriched record's names would end a line.
    for line in filter(None, done.stdout.split("\n")):
        found = RECORD.match(line)
        if not found:
            raise SystemExit(f"ausearch printed no record: {line}")
        numbers = {"type": found[1], "time": found[2], "serial": found[3]}
        records.append({**fields(found[4]), **fields(found[5]), **numbers})
    return sorted(records, key=lambda record: int(record["serial"]))


def run_of(records: list[Record], pid: int) -> tuple[list[Record], list[Record]]:
    """Return the records of one run of the VM: the records up to its start, and the records of its end."""
    mine = next(
        index
        for index, record in enumerate(records)
        if record.get("op") == "start" and record["vm-pid"] == str(pid)
    )
    # Each run begins with its VIRT_MACHINE_ID.
    ids = [i for i, record in enumerate(records) if record["type"] == "VIRT_MACHINE_ID"]
    begin = max(index for index in ids if index < mine)
    end = min((index for index in ids if index > mine), default=len(records))
    return records[begin : mine + 1], records[mine + 1 : end]


def quit_qemu(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(path)
        monitor.recv(65536)
        for command in ("qmp_capabilities", "quit"):
            monitor.sendall(json.dumps({"execute": command}).encode())
            monitor.recv(65536)


def end(vm: dict[str, Any], how: str) -> float:
    """End qemu. Return the time of its death."""
    pidfd = os.pidfd_open(vm["pid"])
    if how == "kill":
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    elif how == "quit":
        quit_qemu(vm["qmp_socket"])
    elif how == "oom":
        # With this the kernel finds no memory that it could reclaim.
        limits = ["MemoryMax=1M", "MemorySwapMax=0"]
        command = ["systemctl", "set-property", "--runtime", vm["unit"], *limits]
        subprocess.run(command, check=True)
    else:
        command = ["systemctl", "stop", "--no-block", vm["unit"]]
        subprocess.run(command, check=True)
    select.select([pidfd], [], [], WAIT_SECONDS)
    return time.time()


def wait_for(unit: Path) -> bool:
    """Wait until systemd has forgotten a unit that systemd-run made."""
    deadline = time.monotonic() + WAIT_SECONDS
    while unit.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not unit.exists()


def problems_of(
    asked: dict[str, Any], begun: list[Record], ended: list[Record]
) -> list[str]:
    problems = []

    def check(holds: bool, problem: str) -> None:
        if not holds:
            problems.append(problem)

    def of(records: list[Record], **wanted: str) -> list[Record]:
        return [
            record
            for record in records
            if all(record.get(key) == value for key, value in wanted.items())
        ]

    stops = [(record["reason"], record["vm-pid"]) for record in of(ended, op="stop")]
    wanted = (asked["reason"], str(asked["vm"]["pid"]))
    check(stops == [wanted], f"stop records: {stops}, should be {[wanted]}")
    for mac in asked["macs"]:
        detached = of(ended, reason="detach", **{"old-net": mac})
        check(len(detached) == 1, f"{mac}: {len(detached)} detach records, not 1")
        given = of(begun, reason="start", **{"new-net": mac})[0]["fds"].split(",")
        closed = of(ended, reason="close", net=mac)
        fds = sorted(record["fd"] for record in closed)
        check(fds == sorted(given), f"{mac}: started with fds {given}, closed {fds}")
        opened = sorted(record["path"] for record in of(begun, reason="open", net=mac))
        paths = sorted(record["path"] for record in closed)
        check(paths == opened, f"{mac}: opened {opened}, closed {paths}")
        link = Path("/sys/class/net", f"vt{mac.replace(':', '')}")
        check(not link.exists(), f"{link.name} is left")
    failed = [record["serial"] for record in ended if record["res"] != "success"]
    check(not failed, f"failed: {failed}")
    state = Path("/run/virtaudit", asked["vm"]["uuid"])
    check(not state.exists(), f"{state} is left")
    return problems


def main() -> None:
    asked = json.loads(sys.argv[1])
    vm = asked["vm"]
    unit = f"virtaudit-{vm['uuid']}-gone.service"
    dead = 0.0 if asked["how"] == "none" else end(vm, asked["how"])
    done = wait_for(Path("/run/systemd/transient", unit))
    # The daemon writes a moment after the kernel has numbered a record.
    time.sleep(1)
    begun, ended = run_of(read_log(vm["uuid"]), vm["pid"])
    problems = problems_of(asked, begun, ended)
    if not done:
        problems.append(f"{unit} has not ended")
    journal = ["journalctl", "--no-pager", "--output=cat", f"--unit={unit}"]
    print(
        json.dumps(
            {
                "problems": problems,
                "seconds": round(float(ended[-1]["time"]) - dead, 2) if ended else None,
                "auids": sorted({record["auid"] for record in ended}),
                "journal": subprocess.run(
                    journal, stdout=subprocess.PIPE, text=True, check=True
                ).stdout,
            }
        )
    )


if __name__ == "__main__":
    main()
