# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules of the role auditd cost each system call, on loops of cheap ones.

    audit_rules.py [CALLS] [ROUNDS]       default: 200000 9

No call matches a rule, so the figure is the cost for everything else that a hypervisor does. The loops run with and
without the rules in turn. Auditing is enabled in both cases. Each loop is a process of its own, because a process
keeps the audit context with which it began. The figures are medians, and each ratio is of one round. Both sides
contain Python's share. The script needs root, and restores the loaded rules at the end.
"""

from __future__ import annotations

import contextlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import jinja2

from ansible_collections.virtaudit.qemu.tests.benchmark.support import script

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "roles" / "auditd" / "templates" / "50-virtaudit.rules.j2"
BINARIES = ("/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm")
LOOP = """
import fcntl, os, sys, time
calls = int(sys.argv[2])
def one_open():
    os.close(os.open("/etc/hostname", os.O_RDONLY))
null = os.open("/dev/null", os.O_RDONLY)
def one_ioctl():
    try:
        fcntl.ioctl(null, 0)
    except OSError:
        pass
call = {"open": one_open, "ioctl": one_ioctl}[sys.argv[1]]
begin = time.perf_counter()
for _ in range(calls):
    call()
print((time.perf_counter() - begin) / calls * 1e9)
"""


def auditctl(*arguments: str) -> str:
    command = ["auditctl", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def load(rules: str) -> None:
    """Load these rules, and no others. auditctl needs a file that belongs to root."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"-D\n{rules}")
        file.flush()
        auditctl("-R", file.name)


def wanted() -> str:
    """Return the rules in the form that the role writes on this machine."""
    text = subprocess.run(
        ["sh", "-s", "--", *BINARIES],
        input=(ROOT / "roles" / "auditd" / "files" / "observe").read_text(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    host: dict[str, str] = {}
    for part in f"\n{text}".split("\n@@ ")[1:]:
        name, _line, rest = part.partition("\n")
        host[name] = rest
    majors = re.findall(r"(?m)^ *(\d+) (macvtap|vhost-vdpa)$", host["devices"])
    names: dict[str, t.Any] = {name: major for major, name in majors}
    template = jinja2.Template(TEMPLATE.read_text(), trim_blocks=True)
    rules: str = template.render(__auditd_host=host, __auditd_majors=names)
    return f"{rules}\n"


def timed(what: str, calls: int) -> float:
    """Return the nanoseconds of one call."""
    command = [sys.executable, "-c", LOOP, what, str(calls)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(rules: str, calls: int, rounds: int) -> None:
    for what in ("ioctl", "open"):
        without, having = [], []
        for _round in range(rounds):
            load("")
            without.append(timed(what, calls))
            load(rules)
            having.append(timed(what, calls))
        ratio = statistics.median(b / a for a, b in zip(without, having))
        more = statistics.median(b - a for a, b in zip(without, having))
        print(
            f"{what:5}: {statistics.median(without):6.0f} ns without, {statistics.median(having):6.0f} ns with"
            f" the rules: {ratio:.2f}x, {more:.0f} ns more"
        )


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:]]
    calls, rounds = [*numbers, *(200_000, script.rounds(9))[len(numbers) :]]
    before = [line for line in auditctl("-l").splitlines() if line.startswith("-")]
    enabled = re.search(r"(?m)^enabled (\d)$", auditctl("-s"))
    state = Path("/run/virtaudit")
    if enabled is None or enabled[1] == "2":
        raise SystemExit("The audit system takes no other rules until it boots.")
    with contextlib.ExitStack() as undo:
        # The kernel refuses a rule for a directory that does not exist.
        if not state.exists():
            state.mkdir(mode=0o700)
            undo.callback(state.rmdir)
        undo.callback(auditctl, "-e", enabled[1])
        undo.callback(load, "".join(f"{line}\n" for line in before))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            # The first signal still restores the loaded rules, and a second signal does not interrupt that.
            signal.signal(number, lambda *_: sys.exit("ended by a signal"))
            undo.callback(signal.signal, number, signal.SIG_IGN)
        rules = wanted()
        auditctl("-e", "1")
        count = sum(line.startswith("-a") for line in rules.splitlines())
        print(f"{count} rules, {calls} calls a round, {rounds} rounds")
        measure(rules, calls, rounds)


if __name__ == "__main__":
    main()
