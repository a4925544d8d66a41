# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say what of a host is not yet as the role wants it, bridges aside, and what stands against it.

Runs on the host as root, with a JSON object as its argument: the role's state, vhost, user and
packages, the names of its bridges, and the places where qemu may be. Changes nothing. Prints JSON: problems (each a
sentence), and what there is to do.
"""

from __future__ import annotations

import grp
import importlib.util
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

STATE = Path("/run/virtaudit")
# The rules of the role auditd, which name that directory: without it the kernel drops them, and refuses them with
# all that follow when they are loaded again.
RULES = Path("/etc/audit/rules.d/50-virtaudit.rules")
# The program of the companion units stays when the last VM has gone.
PROGRAM = ".pyz"
# The comment of the user, which says that the role made the user.
MARK = "virtaudit.qemu"
# What is there once a module is loaded, or when it is part of the kernel.
MODULES = {
    "tun": "/sys/class/misc/tun",
    "macvtap": "/sys/class/macvtap",
    "vhost_net": "/sys/class/misc/vhost-net",
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "")


def missing(packages: list[str]) -> list[str]:
    """The packages that are not installed."""
    ask = ["dpkg-query", "--show", "--showformat=${db:Status-Status}"]
    if run(*ask, "base-files").stdout != "installed":
        ask = ["rpm", "--query", "--whatprovides", "--queryformat=installed"]
    return [name for name in packages if run(*ask, name).stdout != "installed"]


class Modules:
    """The kernel modules: those to load now, those to load at boot, those that are not to be had."""

    def __init__(self, vhost: str) -> None:
        names = [name for name in MODULES if name != "vhost_net" or vhost != "off"]
        there = {name for name in names if os.path.exists(MODULES[name])}
        # Only these: at boot, one that cannot be loaded makes systemd-modules-load fail.
        self.persist = [
            n for n in names if run("modprobe", "--dry-run", n).returncode == 0
        ]
        self.load = [name for name in self.persist if name not in there]
        self.absent = [n for n in names if n not in there and n not in self.persist]

    def problems(self, vhost: str) -> list[str]:
        return [
            f"this kernel ({os.uname().release}) has no {name}, and modprobe finds no such module for it; boot a kernel"
            " that has it"
            + (", or set hypervisor_vhost: auto" if name == "vhost_net" else "")
            for name in self.absent
            if name != "vhost_net" or vhost == "required"
        ]


def state_problems(wanted: str) -> list[str]:
    """Like the modules, the role refuses a state directory that somebody else could write to."""
    try:
        status = STATE.lstat()
    except FileNotFoundError:
        return []
    trusted = stat.S_ISDIR(status.st_mode) and status.st_uid == 0
    if not trusted or stat.S_IMODE(status.st_mode) & 0o077:
        return [
            f"{STATE} is not a directory of root's with mode 0700, so its content cannot be trusted; look at it, then"
            f" remove it ('rm -r {STATE}') while no VM of this collection runs"
            + (
                ", and run the role auditd again: its rules go with it"
                if RULES.exists()
                else ""
            )
        ]
    vms = sorted(path.name for path in STATE.iterdir() if path.suffix != PROGRAM)
    if wanted == "absent" and vms:
        return [
            f"VMs of this collection run here, or left something: {', '.join(vms)} in {STATE}; stop them first"
        ]
    return []


def state_leftovers() -> list[str]:
    """What the role removes of the state directory, files first."""
    if not STATE.exists():
        return []
    programs = sorted(str(path) for path in STATE.glob(f"*{PROGRAM}"))
    return programs + ([] if RULES.exists() else [str(STATE)])


class User:
    """The user that qemu shall run as."""

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self.entry: pwd.struct_passwd | None = pwd.getpwnam(name)
        except KeyError:
            self.entry = None
        self.made = self.entry is not None and self.entry.pw_gecos == MARK
        try:
            self.groups = [grp.getgrnam("kvm").gr_name]
        except KeyError:
            self.groups = []

    def problems(self, wanted: str) -> list[str]:
        where = f"hypervisor_user: {self.name}"
        if not re.match(r"[a-z_][a-z0-9_-]{0,31}\Z", self.name):
            return [f"{where!r} is no name of a user"]
        if self.entry is None:
            return []
        if self.entry.pw_uid == 0:
            return [f"{where} has uid 0, and is not unprivileged; name another one"]
        if wanted == "absent" and self.made:
            owners = {path: owner(path) for path in Path("/proc").glob("[0-9]*")}
            busy = [
                path.name for path, uid in owners.items() if uid == self.entry.pw_uid
            ]
            if busy:
                return [
                    f"{where} still has processes: {', '.join(sorted(busy))}; end them first"
                ]
        return []


def owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except FileNotFoundError:
        return None


def runs(unit: str) -> bool:
    if not os.path.isdir("/run/systemd/system"):
        return False
    return run("systemctl", "is-active", "--quiet", unit).returncode == 0


def unkept_bridges(names: list[str], networkd: bool, manager: bool) -> list[str]:
    """Why nothing would make the bridges at the next boot. Where no manager of networks runs, the role says it instead."""
    if not names or networkd or not manager:
        return []
    return [
        f"hypervisor_bridges: NetworkManager runs this host's network, and a bridge of the role's would be gone at"
        f" the next boot. Make {', '.join(names)} with it (nmcli connection add type bridge ifname NAME), and"
        " leave hypervisor_bridges empty"
    ]


def executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def main() -> None:
    options = json.loads(sys.argv[1])
    modules = Modules(options["vhost"])
    user = User(options["user"])
    problems = [] if os.geteuid() == 0 else ["the role needs root: become: true"]
    problems += state_problems(options["state"]) + user.problems(options["state"])
    networkd = runs("systemd-networkd")
    problems += unkept_bridges(options["bridges"], networkd, runs("NetworkManager"))
    if options["state"] == "present":
        problems += modules.problems(options["vhost"])
    found: dict[str, t.Any] = {
        "problems": problems,
        "packages": missing(options["packages"]),
        "persist": modules.persist,
        "load": [{"name": name, "shows": MODULES[name]} for name in modules.load],
        "absent": modules.absent,
        "state_leftovers": state_leftovers(),
        "networkd": networkd,
        "openvswitch": shutil.which("ovs-vsctl") is not None,
        "systemd": os.path.isdir("/run/systemd/system"),
        "user_is_foreign": user.entry is not None and not user.made,
        "user_mark": MARK,
        "groups": user.groups,
        "binary": next(filter(executable, options["binaries"]), None),
        "pyroute2": importlib.util.find_spec("pyroute2") is not None,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
