# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports the release, devices and packages of a virtual hypervisor. It runs on the virtual hypervisor as root, and
prints JSON."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

MODULES = ("vhost_net", "tun", "macvtap")
WANTED = ("auditd", "audispd-plugins", "python3-pyroute2")


def run(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def codename() -> str:
    """Return the name of the Debian release."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").split("\n")
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return fields["VERSION_CODENAME"]


def available() -> list[str]:
    """Return the packages that are installed, or that apt could install from the archive in the image."""
    run("apt-get", "-qq", "update")
    simulate = ("apt-get", "-qq", "--simulate", "--no-install-recommends", "install")
    run(*simulate, *WANTED)
    return [
        name
        for name in WANTED
        if "file:/opt/archive" in run("apt-cache", "policy", name)
    ]


def nodes() -> bool:
    """Return whether the kernel modules make the devices. The modules are unloaded afterwards."""
    run("modprobe", "-a", *MODULES)
    paths = (Path("/dev/net/tun"), Path("/dev/vhost-net"))
    there = all(stat.S_ISCHR(path.stat().st_mode) for path in paths)
    run("modprobe", "-r", *MODULES)
    return there


def main() -> None:
    print(
        json.dumps(
            {
                "release": codename(),
                "cmdline": Path("/proc/cmdline").read_text(encoding="ascii").split(),
                "available": available(),
                "wanted": WANTED,
                "nodes": nodes(),
                "bytecode": any(Path("/var/cache/molecule").glob("*")),
                "links": sorted(link.name for link in Path("/sys/class/net").iterdir()),
            }
        )
    )


if __name__ == "__main__":
    main()
