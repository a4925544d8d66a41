# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop one virtual hypervisor. The playbooks create and destroy of the scenario default run this.

``vm.py accel`` prints how virtual hypervisors run here: ``kvm`` if that works, and otherwise ``uml``. The environment
variable VIRTAUDIT_ACCEL overrides this, for example with ``tcg`` (emulated, with the kernels of the releases). ``vm.py
start`` boots a virtual hypervisor, ``vm.py stop`` ends it, and ``vm.py connect`` is ssh's ProxyCommand. RUN is the
directory of a run. RUN/<name> has the pid of a virtual hypervisor, a key that may log in, its host key and the output of
its console.
"""

from __future__ import annotations

import argparse
import base64
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.virtaudit.qemu.extensions.molecule import qemu, uml
else:  # Python finds these modules in the directory of this file, because it runs as a script.
    import qemu
    import uml

ACCELERATORS = ("kvm", "tcg", "uml")


def accelerator() -> str:
    """Return one of ACCELERATORS."""
    wanted = os.environ.get("VIRTAUDIT_ACCEL")
    if wanted and wanted not in ACCELERATORS:
        raise SystemExit(
            f"VIRTAUDIT_ACCEL is {wanted}, and not one of {', '.join(ACCELERATORS)}"
        )
    return wanted or ("kvm" if qemu.has_kvm() else "uml")


def find(home: Path) -> tuple[int, int] | None:
    """Return the pid and the pidfd of a virtual hypervisor, or None.

    One of its arguments is the path of its pid file, and this identifies it. If its start was cut off, the file itself
    may not exist yet. The code opens the pidfd before it reads the command line, so that the pidfd cannot belong to
    another process.
    """
    for pid in sorted(int(path.name) for path in Path("/proc").glob("[0-9]*")):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            arguments = []
        if os.fsencode(home / "pid") in arguments:
            return pid, handle
        os.close(handle)
    return None


def start(options: argparse.Namespace) -> str:
    home: Path = options.run / options.name
    home.mkdir(parents=True, exist_ok=True)
    if find(home) is not None:
        return "running"
    (home / "pid").unlink(missing_ok=True)
    if not (home / "key").exists():
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "molecule"]
        subprocess.run([*generate, "-f", str(home / "key")], check=True)
    host_key = (options.image / "host_key.pub").read_text().split()
    (home / "known_hosts").write_text(f"{options.name} {host_key[0]} {host_key[1]}\n")
    (home / "accel").write_text(f"{options.accel}\n")
    key = base64.b64encode((home / "key.pub").read_bytes()).decode()
    append = f"rw quiet net.ifnames=0 virtaudit.key={key}"
    launch = uml.launch if options.accel == "uml" else qemu.launch
    launch(options, home, append)
    return "started"


def stop(options: argparse.Namespace) -> str:
    home: Path = options.run / options.name
    found = find(home)
    if found is None:
        return "absent"
    # Nothing in the virtual hypervisor needs an orderly shutdown.
    signal.pidfd_send_signal(found[1], signal.SIGKILL)
    ended, _writable, _broken = select.select([found[1]], [], [], 10)
    if not ended:
        raise SystemExit(f"{options.name} does not end")
    (home / "pid").unlink(missing_ok=True)
    return "stopped"


def connect(options: argparse.Namespace) -> None:
    """Become the program that connects standard input and output with the virtual hypervisor's sshd."""
    home: Path = options.run / options.name
    found = find(home)
    if found is None:
        raise SystemExit(f"{options.name} does not run")
    is_uml = (home / "accel").read_text() == "uml\n"
    command = uml.connect(found[0]) if is_uml else qemu.connect(home)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("accel")
    for action in ("start", "stop", "connect"):
        wanted = actions.add_parser(action)
        wanted.add_argument("--run", type=Path, required=True)
        wanted.add_argument("--name", required=True)
        if action == "start":
            wanted.add_argument("--image", type=Path, required=True)
            wanted.add_argument("--accel", choices=ACCELERATORS, required=True)
            wanted.add_argument("--cpu", required=True)
    options = parser.parse_args()
    if options.action == "accel":
        print(accelerator())
    elif options.action == "connect":
        connect(options)
    else:
        print(start(options) if options.action == "start" else stop(options))


if __name__ == "__main__":
    main()
