# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports what a hypervisor itself shows of a VM's NICs: its audit log, its processes, its links.

It runs on the hypervisor as root, with a JSON object as its argument: name and uuid of the VM, macs, auid of the
operator and addr of the operator's ssh client, and state: held or released. It prints its findings as JSON, with a
list of problems, each a sentence. It shares no code with the collection, and reads the log with ausearch.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

TYPES = "VIRT_RESOURCE,VIRT_CONTROL,VIRT_MACHINE_ID"
RECORD = re.compile(
    r"(?:node=\S+ )?type=(\w+) msg=audit\(([\d.]+:\d+)\): (.*?) msg='(.*)'"
)
FIELD = re.compile(r'([\w-]+)=("[^"]*"|\S+)')
TAP = re.compile(r"/dev/tap\d+$")
VHOST = "/dev/vhost-net"

Record = dict[str, str]


def fields(text: str) -> Record:
    return {name: value.strip('"') for name, value in FIELD.findall(text)}


def ausearch(types: str) -> list[str]:
    """Return the lines of the events of some types."""
    # Without --input-logs ausearch reads its standard input, if that is not a terminal.
    command = ["ausearch", "--input-logs", "--message", types, "--raw"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    # Status 1 means that nothing matched.
    if done.returncode not in (0, 1):
        raise SystemExit(f"ausearch failed with {done.returncode}")
    # splitlines() would be wrong here, because the 0x1D before an enriched record's names would end a line.
    return list(filter(None, done.stdout.split("\n")))


def read_log(uuid: str) -> list[Record]:
    """Return the VM's records in the order of the log."""
    records = []
    for line in ausearch(TYPES):
        found = RECORD.match(line)
        if not found:
            raise SystemExit(f"ausearch printed no record: {line}")
        record = (
            fields(found[3]) | fields(found[4]) | {"type": found[1], "event": found[2]}
        )
        if record.get("uuid") == uuid:
            records.append(record)
    return records


def kernel_opens() -> Counter[tuple[str, str]]:
    """Return how often each process opened each path, from the kernel's records for the rules."""
    opened: Counter[tuple[str, str]] = Counter()
    pids: dict[str, str] = {}
    for line in ausearch("SYSCALL"):
        event = line.partition("msg=audit(")[2].partition(")")[0]
        record = fields(line.partition("\x1d")[0])
        if line.partition("type=")[2].startswith("SYSCALL "):
            # This counts openat without O_PATH.
            if record["syscall"] == "257" and not int(record["a2"], 16) & 0o10000000:
                pids[event] = record["pid"]
        elif record.get("nametype") == "NORMAL" and event in pids:
            opened[pids[event], record["name"]] += 1
    return opened


def network_fds(process: Path) -> dict[str, dict[str, str]]:
    """Return the network devices that a process holds, by fd number."""
    held = {}
    for link in (process / "fd").iterdir():
        path = str(link.readlink())
        if path not in ("/dev/net/tun", VHOST) and not TAP.match(path):
            continue
        held[link.name] = {"path": path}
        for line in (process / "fdinfo" / link.name).read_text().splitlines():
            if line.startswith("iff:"):
                held[link.name]["dev"] = line.partition(":")[2].strip()
    return held


def processes(name: str) -> list[dict[str, Any]]:
    """Return each qemu that runs the VM with that name, or whose name is unknown."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = status.read_bytes().split(b"\0")
            cgroup = status.with_name("cgroup").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"qemu-system" in arguments[0] and name.encode() in b" ".join(arguments):
            found.append(
                {
                    "pid": status.parent.name,
                    "user": status.parent.owner(),
                    "cgroup": cgroup.partition("::")[2],
                    "fds": network_fds(status.parent),
                }
            )
    return found


class Witness:
    """Collects what the host shows, and the problems with it."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.problems: list[str] = []
        self.records = read_log(asked["uuid"])
        self.qemus = processes(asked["name"])
        self.links = sorted(path.name for path in Path("/sys/class/net").iterdir())

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def of(self, **wanted: str) -> list[Record]:
        return [
            record
            for record in self.records
            if all(record.get(key) == value for key, value in wanted.items())
        ]

    def origin(self) -> None:
        """Check that every record of a task has the operator and the address of the ssh client."""
        self.check(bool(self.records), "the audit log has no record of the VM")
        for record in self.records:
            where = f"{record['type']} {record.get('reason', '')} {record['event']}"
            for key in ("auid", "addr"):
                self.check(
                    record.get(key) == self.asked[key],
                    f"{where}: {key}={record.get(key)}, not {self.asked[key]}",
                )
            self.check(
                record.get("res") == "success", f"{where}: res={record.get('res')}"
            )
            self.check(
                record.get("vm") == self.asked["name"],
                f"{where}: vm={record.get('vm')}",
            )

    def seconded(self) -> None:
        """Check that the kernel has recorded each open that is on record, and no other open of these processes."""
        recorded = Counter(
            (record["pid"], record["path"]) for record in self.of(reason="open")
        )
        pids = {pid for pid, _path in recorded}
        seen = Counter(
            {
                (pid, path): count
                for (pid, path), count in kernel_opens().items()
                if pid in pids
                and (path.endswith(("/net/tun", VHOST)) or TAP.match(path))
            }
        )
        self.check(seen == recorded, f"recorded {recorded}, the kernel saw {seen}")

    def opened(self, mac: str) -> list[str]:
        return sorted(record["path"] for record in self.of(reason="open", net=mac))

    def held(self) -> None:
        self.check(
            len(self.qemus) == 1, f"{len(self.qemus)} qemu processes run the VM, not 1"
        )
        self.check(
            len(self.of(type="VIRT_MACHINE_ID")) == 1, "not one VIRT_MACHINE_ID record"
        )
        if len(self.qemus) != 1:
            return
        qemu = self.qemus[0]
        self.check(
            len(self.of(type="VIRT_CONTROL", op="start", **{"vm-pid": qemu["pid"]}))
            == 1,
            f"not one VIRT_CONTROL op=start record with vm-pid={qemu['pid']}",
        )
        self.check(
            qemu["cgroup"].startswith("/machine.slice/")
            and qemu["cgroup"].endswith(".scope"),
            f"qemu lives in {qemu['cgroup']}, not in a scope under machine.slice",
        )
        granted: set[str] = set()
        for mac in self.asked["macs"]:
            starts = self.of(reason="start", **{"new-net": mac})
            self.check(
                len(starts) == 1, f"{len(starts)} start records for {mac}, not 1"
            )
            for record in starts:
                fds = set(record.get("fds", "").split(","))
                granted |= fds
                paths = sorted(
                    qemu["fds"].get(fd, {}).get("path", "nothing") for fd in fds
                )
                self.check(
                    paths == self.opened(mac),
                    f"{mac}: opened {self.opened(mac)}, but fds={record.get('fds')} are {paths}",
                )
                names = {qemu["fds"].get(fd, {}).get("dev") for fd in fds} - {None}
                devs = {opened.get("dev") for opened in self.of(reason="open", net=mac)}
                self.check(
                    names <= devs, f"{mac}: qemu holds {names}, the records say {devs}"
                )
                self.check(VHOST in paths, f"{mac}: no vhost-net")
        self.check(
            granted == set(qemu["fds"]),
            f"the start records name fds {sorted(granted)}, qemu holds {sorted(qemu['fds'])}",
        )

    def released(self) -> None:
        self.check(not self.qemus, f"qemu still runs: {self.qemus}")
        starts = self.of(type="VIRT_CONTROL", op="start")
        stops = self.of(type="VIRT_CONTROL", op="stop")
        self.check(
            [record["vm-pid"] for record in starts]
            == [record["vm-pid"] for record in stops],
            f"{len(starts)} start and {len(stops)} stop records, or of other processes",
        )
        for mac in self.asked["macs"]:
            closed = self.of(reason="close", net=mac)
            paths = sorted(record["path"] for record in closed)
            self.check(
                paths == self.opened(mac),
                f"{mac}: opened {self.opened(mac)}, closed {paths}",
            )
            for record in self.of(reason="start", **{"new-net": mac}):
                fds = sorted(record.get("fds", "").split(","))
                given = sorted(one.get("fd", "none") for one in closed)
                self.check(
                    fds == given, f"{mac}: started with fds {fds}, closed {given}"
                )
            detached = self.of(reason="detach", **{"old-net": mac})
            self.check(
                len(detached) == 1, f"{len(detached)} detach records for {mac}, not 1"
            )
        state = Path("/run/virtaudit") / self.asked["uuid"]
        self.check(not state.exists(), f"{state} is left")


def main() -> None:
    asked = json.loads(sys.argv[1])
    witness = Witness(asked)
    witness.origin()
    witness.seconded()
    {"held": witness.held, "released": witness.released}[asked["state"]]()
    seen = {"records": witness.records, "qemus": witness.qemus, "links": witness.links}
    print(json.dumps({**seen, "problems": witness.problems}))


if __name__ == "__main__":
    main()
