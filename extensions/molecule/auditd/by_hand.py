# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does by hand each action that the rules watch, and looks for it with ausearch.

It runs on a hypervisor as root, with the auid of the operator as its argument. It prints JSON: a list of problems,
each a sentence, and the records that it found. It shares no code with the collection.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LOWER = "moltest0"
MACVTAP = "moltest1"
TAP = "moltest2"
# asm/unistd.h (the number is the same on all architectures), linux/ptrace.h
PIDFD_GETFD = 438
PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SEIZE = 16, 17, 0x4206
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def run(*command: str) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def tap() -> None:
    run("ip", "tuntap", "add", "dev", TAP, "mode", "tap")
    run("ip", "link", "delete", TAP)


def macvtap() -> None:
    run("ip", "link", "add", LOWER, "type", "veth", "peer", "name", f"{LOWER}p")
    try:
        run("ip", "link", "add", "link", LOWER, "name", MACVTAP, "type", "macvtap")
        index = Path(f"/sys/class/net/{MACVTAP}/ifindex").read_text().strip()
        os.close(os.open(f"/dev/tap{index}", os.O_RDWR))
    finally:
        run("ip", "link", "delete", LOWER)


def vhost() -> None:
    os.close(os.open("/dev/vhost-net", os.O_RDWR))


def qemu() -> None:
    with tempfile.TemporaryDirectory() as work:
        pid = Path(work) / "pid"
        plain = ("-machine", "none", "-nodefaults", "-display", "none")
        run("qemu-system-x86_64", *plain, "-daemonize", "-pidfile", str(pid))
        os.kill(int(pid.read_text()), signal.SIGKILL)


def theft() -> None:
    with subprocess.Popen(["/usr/bin/sleep", "60"]) as victim:
        handle = os.pidfd_open(victim.pid)
        os.close(LIBC.syscall(PIDFD_GETFD, handle, 0, 0))
        os.close(handle)
        for request in (PTRACE_ATTACH, PTRACE_SEIZE):
            if LIBC.ptrace(request, victim.pid, None, None):
                raise OSError(ctypes.get_errno(), "ptrace")
            if request == PTRACE_ATTACH:
                os.waitpid(victim.pid, os.WUNTRACED)
                LIBC.ptrace(PTRACE_DETACH, victim.pid, None, None)
        victim.kill()


def configuration() -> None:
    file = Path("/etc/audit/rules.d/molecule.txt")
    file.touch()
    file.unlink()


def state() -> None:
    directory = Path("/run/virtaudit/molecule")
    directory.mkdir()
    directory.rmdir()


# Each action, and then, by key, the least number of its records and a text in each of them.
DEEDS: list[tuple[Callable[[], None], dict[str, tuple[int, str]]]] = [
    (tap, {"virtaudit-tun": (1, 'comm="ip"'), "virtaudit-tunsetiff": (1, 'comm="ip"')}),
    (macvtap, {"virtaudit-macvtap": (1, f"pid={os.getpid()} ")}),
    (vhost, {"virtaudit-vhost-net": (1, f"pid={os.getpid()} ")}),
    (qemu, {"virtaudit-qemu": (1, 'exe="/usr/bin/qemu-system-x86_64"')}),
    (theft, {"virtaudit-fd-theft": (3, f"pid={os.getpid()} ")}),
    (configuration, {"virtaudit-config": (2, f"pid={os.getpid()} ")}),
    (state, {"virtaudit-state": (2, f"pid={os.getpid()} ")}),
]


def seen(key: str, since: float, mark: str) -> list[str]:
    """Return the SYSCALL records that have a key and a mark, and that are not older than a time."""
    # Without --input-logs ausearch reads its standard input.
    command = ["ausearch", "--input-logs", "--key", key, "--raw"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    records = []
    for line in done.stdout.split("\n"):
        stamp = re.search(r"type=SYSCALL msg=audit\(([\d.]+):", line)
        if stamp and float(stamp[1]) >= since and f" {mark}" in line:
            records.append(line)
    return records


def main() -> None:
    operator = sys.argv[1]
    problems, records = [], {}
    # The kernel stamps a record with the last tick of its clock.
    since = time.time() - 0.02
    for deed, _expected in DEEDS:
        deed()
    end = time.monotonic() + 20
    for _deed, expected in DEEDS:
        for key, (least, mark) in expected.items():
            found = seen(key, since, mark)
            while len(found) < least and time.monotonic() < end:
                time.sleep(0.5)
                found = seen(key, since, mark)
            records[key] = found
            if len(found) < least:
                problems.append(f"{key}: {len(found)} records, not {least} or more")
            for record in found:
                if f" auid={operator} " not in record:
                    problems.append(f"{key}: not by auid {operator}: {record}")
                if "\x1d" not in record:
                    problems.append(f"{key}: not enriched: {record}")
                if not record.startswith(f"node={os.uname().nodename} "):
                    problems.append(f"{key}: without the node's name: {record}")
    print(json.dumps({"problems": problems, "records": records}))


if __name__ == "__main__":
    main()
