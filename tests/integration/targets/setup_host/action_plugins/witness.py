# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task of the tests that asks other tools than the collection about the tests' VMs.

It runs on the controller, which is also the host, because a module takes longer to start than to look. It reads
records with ausearch, links with ``ip``, and open files in /proc. It imports nothing of the collection.
``problems`` lists the contradictions between the trail and the host, for every VM of the tests.
"""

from __future__ import annotations

import collections
import glob
import hashlib
import json
import os
import re
import subprocess
import time
import typing as t
import uuid as uuidlib
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

LOG = "/var/log/audit/audit.log"
STATE = "/run/virtaudit"
TYPES = "VIRT_CONTROL,VIRT_RESOURCE,VIRT_MACHINE_ID"
LINE = re.compile(
    r"(?:node=\S+ )?type=(?P<type>\w+) msg=audit\((?P<event>[0-9.]+:[0-9]+)\): pid=(?P<pid>\d+) uid=\d+"
    r" auid=(?P<auid>\d+) ses=(?P<ses>\d+)(?: subj=\S*)? msg='(?P<text>[^']*)'"
)
FIELD = re.compile(r'([\w-]+)=("[^"]*"|\S*)(?: |$)')
HEX = re.compile(r"(?:[0-9A-F]{2})+")
MAY_BE_HEX = ("vm", "path", "dev", "exe", "source", "ticket")
DEVICE = re.compile(r"/dev/(?:net/tun|tap\d+|vhost-net)")

Record = dict[str, t.Any]


def run(*command: str) -> str:
    # ausearch reads a date in this form only in this locale.
    known = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        encoding="utf-8",
        env=known,
        errors="surrogateescape",
    )
    # ausearch ends with 1 when it finds nothing.
    nothing = done.returncode == 1 and command[0] == "ausearch" and not done.stdout
    if done.returncode and not nothing:
        raise AnsibleError(f"{command} failed: {done.stdout}{done.stderr}")
    return done.stdout


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""


def wait_for_log() -> None:
    """Wait until the daemon has written all records of the kernel. A mark is the last of them.

    If auditing is disabled or no daemon runs, do not wait.
    """
    status = dict(
        line.split(maxsplit=1)
        for line in run("auditctl", "-s").splitlines()
        if len(line.split()) == 2
    )
    if status["enabled"] == "0" or not os.path.exists(f"/proc/{status['pid']}/fd"):
        return
    mark = f"itest-mark-{uuidlib.uuid4()}"
    run("auditctl", "-m", mark)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for name in (LOG, f"{LOG}.1"):
            if os.path.exists(name):
                with open(name, "rb") as handle:
                    handle.seek(max(0, os.path.getsize(name) - 1_000_000))
                    if mark.encode() in handle.read():
                        return
        time.sleep(0.01)
    raise AnsibleError("the audit daemon did not write the mark")


def decode(key: str, value: str) -> str | None:
    if value in ("?", '"?"'):
        return None
    if value.startswith('"'):
        return value[1:-1]
    if key in MAY_BE_HEX and HEX.fullmatch(value):
        return bytes.fromhex(value).decode("utf-8", "surrogateescape")
    return value


def parse(line: str) -> Record | None:
    """Read one line of ``ausearch --raw``."""
    match = LINE.match(line)
    if match is None:
        return None
    pairs = FIELD.findall(match["text"])
    return {
        **match.groupdict(),
        "keys": [key for key, _value in pairs],
        "fields": {key: decode(key, value) for key, value in pairs},
    }


def begin_of_run() -> list[str]:
    """Return the date and the time at which this ansible-playbook was started, as ausearch reads them."""
    pid, begun = os.getpid(), 0
    while b"ansible-playbook" in Path(f"/proc/{pid}/cmdline").read_bytes():
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        pid, begun = int(fields[1]), int(fields[19])
    seconds = begun / os.sysconf("SC_CLK_TCK") - time.clock_gettime(time.CLOCK_BOOTTIME)
    when = time.localtime(time.time() + seconds - 1)
    return [time.strftime("%m/%d/%y", when), time.strftime("%H:%M:%S", when)]


def lines_of(*which: str) -> list[str]:
    """Return the records of this run that ausearch finds, as lines."""
    found = run("ausearch", "--input-logs", *which, "--raw", "--start", *begin_of_run())
    return found.split("\n")


def records_of_vm(vm_uuid: str) -> list[Record]:
    return [each for each in map(parse, lines_of("--uuid", vm_uuid)) if each]


def records_of_run(prefix: str) -> list[Record]:
    """Return the records of all VMs whose names begin with the prefix."""
    forms = (prefix, prefix.encode().hex().upper())
    lines = [
        line for line in lines_of("-m", TYPES) if any(form in line for form in forms)
    ]
    return [
        each
        for each in map(parse, lines)
        if each and (each["fields"].get("vm") or "").startswith(prefix)
    ]


def links() -> dict[str, t.Any]:
    """Return every link that ``ip`` shows."""
    found = {}
    for item in json.loads(run("ip", "-j", "-d", "link", "show")):
        info = item.get("linkinfo", {})
        found[item["ifname"]] = {
            "index": item["ifindex"],
            "kind": info.get("info_kind"),
            "mode": info.get("info_data", {}).get("mode"),
            "mtu": item["mtu"],
            "address": item.get("address"),
            "master": item.get("master"),
            "lower": item.get("link"),
            "up": "UP" in item["flags"],
        }
    return found


def device(pid: str, fd: str, path: str, names: dict[int, str]) -> dict[str, t.Any]:
    rdev = os.stat(f"/proc/{pid}/fd/{fd}").st_rdev
    dev = None
    if path == "/dev/net/tun":
        match = re.search(r"^iff:\t(\S+)$", read(f"/proc/{pid}/fdinfo/{fd}"), re.M)
        dev = match.group(1) if match else None
    elif path.startswith("/dev/tap"):
        dev = names.get(int(path[len("/dev/tap") :]))
    return {
        "path": path,
        "rdev": f"{os.major(rdev):02X}:{os.minor(rdev):02X}",
        "dev": dev,
        "fd": int(fd),
    }


def sockets() -> dict[str, str]:
    """Return the family of each socket by its inode."""
    families = {}
    for family, column in (("unix", 6), ("netlink", 9), ("packet", 8), ("tcp", 9)):
        for line in read(f"/proc/net/{family}").splitlines()[1:]:
            words = line.split()
            if len(words) > column:
                families[words[column]] = family
    return families


def processes(prefix: str, known: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return every qemu whose name begins with the tests' prefix, by UUID."""
    names = {item["index"]: name for name, item in known.items()}
    families = sockets()
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        pid = path.split("/")[2]
        words = read(path).split("\0")
        if "-uuid" not in words or not any(
            re.match(rf"(guest=)?{prefix}", word) for word in words
        ):
            continue
        if "qemu" not in words[0]:
            continue
        fds, devices = {}, []
        status = dict(
            line.split(":\t", 1)
            for line in read(f"/proc/{pid}/status").splitlines()
            if ":\t" in line
        )
        try:
            numbers = sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
            for fd in numbers:
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                inode = target[len("socket:[") : -1]
                fds[fd] = (
                    f"socket:{families.get(inode, 'other')}"
                    if target.startswith("socket:")
                    else target
                )
                if DEVICE.fullmatch(target):
                    devices.append(device(pid, fd, target, names))
        except FileNotFoundError:
            continue
        if status.get("State", "Z")[0] in "ZX":
            continue
        found[words[words.index("-uuid") + 1]] = {
            "pid": int(pid),
            "uid": int(status["Uid"].split()[0]),
            "gid": int(status["Gid"].split()[0]),
            "seccomp": int(status.get("Seccomp", 0)),
            "fds": fds,
            "devices": devices,
        }
    return found


def state() -> dict[str, str]:
    """Return every file that the collection keeps, with a hash of its content."""
    return {
        path: (
            hashlib.sha256(read(path).encode()).hexdigest()
            if os.path.isfile(path)
            else ""
        )
        for path in sorted(glob.glob(f"{STATE}/*") + glob.glob(f"{STATE}/*/*"))
    }


class Books:
    """The balance of one VM's records: the devices that were opened and not closed, and the NICs that the VM holds."""

    def __init__(self) -> None:
        self.opened: collections.Counter[tuple[t.Any, ...]] = collections.Counter()
        self.held: dict[str, list[str]] = {}
        self.problems: list[str] = []

    def play(self, record: Record) -> None:
        fields = record["fields"]
        if record["type"] != "VIRT_RESOURCE" or fields.get("resrc") != "net":
            return
        good = fields["res"] == "success"
        reason = fields["reason"]
        if reason in ("start", "attach") and good:
            if fields["new-net"] in self.held:
                self.problems.append(f"{fields['new-net']} handed over twice")
            self.held[fields["new-net"]] = (fields["fds"] or "").split(",")
        elif reason == "detach" and good:
            if self.held.pop(fields["old-net"], None) is None:
                self.problems.append(f"{fields['old-net']} detached, was not held")
        elif reason in ("open", "close") and good:
            what = tuple(fields[key] for key in ("net", "path", "rdev", "dev"))
            self.opened[what] += 1 if reason == "open" else -1
            if self.opened[what] < 0:
                self.problems.append(f"{what} closed and was not open")

    def against(self, vm: dict[str, t.Any] | None) -> list[str]:
        """Compare the balance at the end of the records with /proc."""
        problems = list(self.problems)
        by_trail = sorted(int(fd) for fds in self.held.values() for fd in fds if fd)
        by_proc = sorted(item["fd"] for item in vm["devices"]) if vm else []
        if by_trail != by_proc:
            problems.append(f"held by the trail {by_trail}, in /proc {by_proc}")
        if sum(self.opened.values()) != len(by_proc):
            left = {key: count for key, count in self.opened.items() if count}
            problems.append(f"opened and not closed: {left}, in /proc {by_proc}")
        return problems


def contradictions(
    records: list[Record], vms: dict[str, t.Any], unaudited: t.Sequence[str]
) -> list[str]:
    books: dict[str, Books] = collections.defaultdict(Books)
    for record in records:
        books[record["fields"]["uuid"]].play(record)
    return [
        f"{name}: {problem}"
        for name in sorted({*books, *vms} - set(unaudited))
        for problem in books[name].against(vms.get(name))
    ]


def look(
    prefix: str, macs: str, uuid: str | None = None, unaudited: t.Sequence[str] = ()
) -> dict[str, t.Any]:
    """Return the records, links, processes and files of this run's VMs.

    ``prefix`` and ``macs`` are the beginnings of the names of the tests' VMs, and of the MACs of their NICs. With
    ``uuid``, the records are those of one VM. ``unaudited`` are the VMs that ran with ``audit: off``, or whose records
    are wrong on purpose.
    """
    wait_for_log()
    known = links()
    vms = processes(prefix, known)
    records = records_of_run(prefix)
    short = {
        name: item
        for name, item in known.items()
        if name.startswith(("itest-", "vt" + macs.replace(":", "")))
        or item["lower"] in ("itest-low", "itest-peer")
    }
    files = {
        path: value
        for path, value in state().items()
        if path.split("/")[3] in {*vms, *(r["fields"]["uuid"] for r in records)}
    }
    return {
        "changed": False,
        "exe": os.readlink("/proc/self/exe"),
        "records": records_of_vm(uuid) if uuid else records,
        "links": short,
        "vms": vms,
        "state": files,
        "problems": contradictions(records, vms, unaudited),
        # If this is equal before and after, no record, link, open file or note was changed.
        "fingerprint": {
            "records": len(records),
            "links": short,
            "open": {name: [vm["pid"], vm["devices"]] for name, vm in vms.items()},
            "state": files,
        },
    }


class ActionModule(ActionBase):
    """The task ``witness``, with the parameters of :func:`look`."""

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None
    ) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        return look(**self._task.args)
