# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports what a host shows of the things that the role hypervisor makes. It runs on the host as root, and prints JSON.

With the argument ``boot`` it first makes systemd repeat the steps of a boot. It shares no code with the role.
"""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def run(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def boot() -> None:
    """Remove what a boot removes, and make systemd restore it from the files."""
    before = links()
    made = {n: i for n, i in before.items() if i["kind"] in ("bridge", "veth")}
    run("systemctl", "stop", "systemd-networkd.socket", "systemd-networkd")
    for name in made:
        # If one end of a veth is removed, the other end disappears too.
        command = ["ip", "link", "delete", "dev", name]
        subprocess.run(command, check=False)
    Path("/run/virtaudit").rmdir()
    run("systemd-tmpfiles", "--create")
    run("systemctl", "restart", "systemd-modules-load")
    ports = [name for name, link in made.items() if link["master"]]
    for port in ports:
        run("ip", "link", "add", port, "type", "veth", "peer", "name", f"{port}p")
    run("systemctl", "start", "systemd-networkd")
    # A link comes up some time after the daemon has started.
    for _attempt in range(50):
        if links() == before:
            return
        time.sleep(0.2)


def links() -> dict[str, dict[str, Any]]:
    shown = json.loads(run("ip", "-json", "-details", "address", "show"))
    return {
        link["ifname"]: {
            "kind": link.get("linkinfo", {}).get("info_kind"),
            "up": "UP" in link["flags"],
            "mac": link["address"],
            "filtering": link.get("linkinfo", {})
            .get("info_data", {})
            .get("vlan_filtering"),
            "mtu": link["mtu"],
            "master": link.get("master"),
            "addresses": [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]],
        }
        for link in shown
    }


def switch() -> dict[str, list[str]]:
    """Return the bridges of Open vSwitch, with their ports."""
    if shutil.which("ovs-vsctl") is None:
        return {}
    bridges = run("ovs-vsctl", "list-br").split()
    return {name: run("ovs-vsctl", "list-ports", name).split() for name in bridges}


def state_directory() -> str | None:
    path = Path("/run/virtaudit")
    if not path.exists():
        return None
    return run("stat", "--format=%U:%G %a %F", str(path)).strip()


def user() -> dict[str, Any] | None:
    try:
        entry = pwd.getpwnam("virtaudit-qemu")
    except KeyError:
        return None
    return {
        "system": entry.pw_uid < 1000,
        "shell": entry.pw_shell,
        "groups": run("id", "--name", "--groups", "virtaudit-qemu").split(),
    }


def loads(module: str) -> bool:
    done = subprocess.run([sys.executable, "-c", f"import {module}"], check=False)
    return done.returncode == 0


def main() -> None:
    if "boot" in sys.argv[1:]:
        boot()
    modules = Path("/proc/modules").read_text(encoding="utf-8").splitlines()
    files = [
        *Path("/etc/systemd/network").glob("*virtaudit*"),
        *Path("/etc/udev/rules.d").glob("*virtaudit*"),
        *Path("/etc/modules-load.d").glob("virtaudit*"),
        *Path("/etc/tmpfiles.d").glob("virtaudit*"),
    ]
    seen = {
        "modules": sorted(line.split()[0] for line in modules),
        "links": links(),
        "switch": switch(),
        "state": state_directory(),
        "bytecode": Path("/var/cache/virtaudit/bytecode").exists(),
        "user": user(),
        "pyroute2": loads("pyroute2"),
        "qemu": run("sh", "-c", "command -v qemu-system-x86_64 || true").strip(),
        "files": {str(path): path.read_text(encoding="utf-8") for path in files},
        "failed": run("systemctl", "--failed", "--plain", "--no-legend").splitlines(),
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
