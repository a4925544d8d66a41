# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual hypervisor as User-Mode Linux. Its kernel is a process, and several times faster than emulation. See vm.py."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

ADDRESS = "10.0.2.15"
SCRIPT = Path(__file__).with_name("uml.sh")
# The kernel runs in namespaces of its own. There its tap is the only one, and no process outlives the first one.
ALONE = ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]


def launch(options: argparse.Namespace, home: Path, append: str) -> None:
    """Start the kernel. ``home/pid`` has the pid of its first process. All others end with this process."""
    pid = home / "pid"
    # This argument is for vm.py, which finds the process by it. The script does not need it.
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
    """Return the command that connects its standard input and output with the sshd. It ends with the kernel."""
    spaces = f"/proc/{pid}/ns"
    within = [f"--net={spaces}/net", f"--pid={spaces}/pid_for_children"]
    return ["nsenter", *within, "nc", ADDRESS, "22"]
