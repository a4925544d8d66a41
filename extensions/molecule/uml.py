# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual hypervisor as User-Mode Linux: a kernel that is a process, several times faster than emulation. See vm.py."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

ADDRESS = "10.0.2.15"
SCRIPT = Path(__file__).with_name("uml.sh")
# In namespaces of its own its tap is alone, and nothing outlives the first process.
ALONE = ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]


def launch(options: argparse.Namespace, home: Path, append: str) -> None:
    """Start the kernel; the pid of the process that ends all of it when it ends is in ``home/pid``."""
    pid = home / "pid"
    # vm.py knows the process by the file of its pid, which the script does not need.
    arguments = [str(home), str(pid), str(options.image), append]
    command = ["unshare", *ALONE, "/bin/sh", str(SCRIPT), *arguments]
    with (home / "console.log").open("wb") as console:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    pid.write_text(f"{process.pid}\n")


def connect(pid: int) -> list[str]:
    """Return the command that connects its standard input and output with its sshd; it ends with the kernel."""
    spaces = f"/proc/{pid}/ns"
    within = [f"--net={spaces}/net", f"--pid={spaces}/pid_for_children"]
    return ["nsenter", *within, "nc", ADDRESS, "22"]
