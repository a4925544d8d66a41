# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work out what the role has to change on a host apart from bridges, and the reasons against it.

Runs on the host as root, with a JSON object as its argument: the role's state, vhost, user and packages, the
names of its bridges, and the places where qemu may be. Changes nothing. Prints JSON: problems (each a
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
# The rules of the role auditd. They name the state directory. Without this directory the kernel drops them. When they
# are loaded again, it refuses them and all rules after them.
RULES = Path("/etc/audit/rules.d/50-virtaudit.rules")
# The program of the companion units stays after the last VM has ended.
PROGRAM = ".pyz"
# The comment of a user that the role made.
MARK = "virtaudit.qemu"
# A path that exists once a module is loaded, or if it is a part of the kernel.
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
    """Return the packages that are not installed."""
    ask = ["dpkg-query", "--show", "--showformat=${db:Status-Status}"]
    if run(*ask, "base-files").stdout != "installed":
        ask = ["rpm", "--query", "--whatprovides", "--queryformat=installed"]
    return [name for name in packages if run(*ask, name).stdout != "installed"]


class Modules:
    """The kernel modules to load now, those to load at boot, and those that this kernel does not have."""

    def __init__(self, vhost: str) -> None:
        names = [name for name in MODULES if name != "vhost_net" or vhost != "off"]
        there = {name for name in names if os.path.exists(MODULES[name])}
        # The list has only modules of this kernel, because systemd-modules-load fails if it cannot load a module.
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
    """Refuse a state directory that somebody else could write to, as the modules do."""
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
                ", and run the role auditd again: the kernel drops its rules when the directory goes"
                if RULES.exists()
                else ""
            )
        ]
    vms = sorted(path.name for path in STATE.iterdir() if path.suffix != PROGRAM)
    if wanted == "absent" and vms:
        return [
            f"VMs of this collection run here, or have left files: {', '.join(vms)} in {STATE}; stop them first"
        ]
    return []


def state_leftovers() -> list[str]:
    """Return what the role removes of the state directory, files first."""
    if not STATE.exists():
        return []
    programs = sorted(str(path) for path in STATE.glob(f"*{PROGRAM}"))
    return programs + ([] if RULES.exists() else [str(STATE)])


class User:
    """Return the changes to the user that will run qemu."""

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
            return [f"{where!r} is not a name of a user"]
        if self.entry is None:
            return []
        if self.entry.pw_uid == 0:
            return [f"{where} has uid 0, so it is not unprivileged; give another user"]
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
    """Return why nothing would make the bridges at the next boot.

    If no network manager runs, the role gives a warning about that instead.
    """
    if not names or networkd or not manager:
        return []
    return [
        "hypervisor_bridges: NetworkManager runs this host's network, so a bridge that the role makes would be gone "
        f"after the next boot. Make {', '.join(names)} with NetworkManager (nmcli connection add type bridge ifname "
        "NAME), and leave hypervisor_bridges empty"
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
