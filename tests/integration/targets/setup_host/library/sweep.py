# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test module that removes everything that the integration tests made, in any state. It finds all by name.

It reads the command line of a process before it ends the process by its pid. It removes links after it has ended qemu,
because nobody may delete a tap that qemu holds.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

STATE = "/run/virtaudit"


def words_of(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            return os.fsdecode(handle.read()).split("\0")
    except OSError:
        return []


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            return handle.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def is_ours(words: list[str], prefix: str, work: str) -> bool:
    """Tell whether a process is a qemu with a name of the tests, or a helper that got the tests' directory."""
    if "-uuid" in words and "qemu" in words[0]:
        return any(re.match(rf"(guest=)?{prefix}", word) for word in words)
    return any(word.startswith(f"{work}/") for word in words) and any(
        word.endswith("/qmp.py") for word in words
    )


def end(prefix: str, work: str) -> list[str]:
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path[len("/proc/") :])
        words = words_of(pid)
        if pid == os.getpid() or not words or not is_ours(words, prefix, work):
            continue
        found.append(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(map(alive, found)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [f"process {pid}" for pid in found]


def ours(name: str, macs: str) -> bool:
    return name.startswith(("itest-", f"vt{macs.replace(':', '')}"))


def remove_links(macs: str) -> list[str]:
    done = subprocess.run(
        ["ip", "-j", "link", "show"], capture_output=True, text=True, check=True
    )
    names = [item["ifname"] for item in json.loads(done.stdout)]
    gone = [name for name in names if ours(name, macs)]
    for name in gone:
        # With one end of the veth the kernel also removes the other end, and with a lower device its macvtaps.
        subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)
    return [f"link {name}" for name in gone]


def remove_state(prefix: str) -> list[str]:
    removed = []
    for path in glob.glob(f"{STATE}/*"):
        with contextlib.suppress(OSError, ValueError):
            with open(f"{path}/state.json", encoding="utf-8") as handle:
                if not json.load(handle)["name"].startswith(prefix):
                    continue
            shutil.rmtree(path)
            removed.append(f"directory {path}")
    return removed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "str", "required": True},
            "macs": {"type": "str", "required": True},
            "work": {"type": "path", "required": True},
        }
    )
    prefix, macs, work = (module.params[key] for key in ("prefix", "macs", "work"))
    removed = end(prefix, work)
    removed += remove_links(macs)
    removed += remove_state(prefix)
    shutil.rmtree(work, ignore_errors=True)
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
