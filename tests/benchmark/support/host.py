# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets up what a benchmark needs, and restores it: audit daemon, bridge, state directory, guest, /dev/kvm."""

from __future__ import annotations

import contextlib
import grp
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support.script import ROOT

BRIDGE = "vabench-br"
STATE = "/run/virtaudit"
_KVM = "/dev/kvm"


def install_peers() -> None:
    """Install the programs with which the collection is compared. They stay installed."""
    packages = Path(__file__).parents[1] / "packages-debian.txt"
    script = ROOT / "tests" / "tools" / "packages.sh"
    subprocess.run(["bash", str(script), str(packages)], check=True)


@contextlib.contextmanager
def auditing() -> Iterator[None]:
    """Enable auditing, and run a daemon that writes records. Restore both at the end."""
    enabled, running = _audit("enabled"), _daemon_lives()
    if not running:
        systemd = os.path.isdir("/run/systemd/system")
        start = ["systemctl", "start", "auditd"] if systemd else ["auditd"]
        subprocess.run(start, check=True)
        _wait(lambda: _audit("pid") > 0, "auditd did not register with the kernel")
    subprocess.run(["auditctl", "-e", "1"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        if not running:
            os.kill(_audit("pid"), signal.SIGTERM)
            _wait(lambda: not _daemon_lives(), "auditd did not end")
        if not enabled:
            subprocess.run(
                ["auditctl", "-e", "0"], check=True, stdout=subprocess.DEVNULL
            )


@contextlib.contextmanager
def bridge() -> Iterator[None]:
    """Make a bridge without an uplink."""
    link = f"link add {BRIDGE} address 02:00:00:be:7c:00 mtu 1500 type bridge"
    subprocess.run(["ip", *link.split()], check=True)
    try:
        subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "link", "del", BRIDGE], check=True)


@contextlib.contextmanager
def state_in_memory() -> Iterator[None]:
    """Put the state directory on a tmpfs. With systemd /run is a tmpfs, and a container's /run may be on a disk."""
    kind = subprocess.run(
        ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", "/run"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    if kind == "tmpfs":
        yield
        return
    made = not os.path.exists(STATE)
    os.makedirs(STATE, mode=0o700, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "mode=0700", "vabench", STATE]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", STATE], check=True)
        if made:
            os.rmdir(STATE)


@contextlib.contextmanager
def kvm_as_udev_makes_it() -> Iterator[None]:
    """Give /dev/kvm to its group, as udev does on any Debian host.

    Without udev only root may open it. Then libvirt takes its knowledge of qemu for outdated, and probes qemu again at
    each start, which takes seconds.
    """
    if not os.path.exists(_KVM):
        yield
        return
    before = os.stat(_KVM)
    os.chown(_KVM, 0, grp.getgrnam("kvm").gr_gid)
    os.chmod(_KVM, 0o660)
    try:
        yield
    finally:
        os.chown(_KVM, before.st_uid, before.st_gid)
        os.chmod(_KVM, stat.S_IMODE(before.st_mode))


def guest(work: Path) -> Path:
    """Copy the small Linux guest to a directory that libvirt's user can read."""
    build = ROOT / "tests" / "support" / "guest" / "build"
    done = subprocess.run(
        ["sh", str(build)], check=True, capture_output=True, text=True
    )
    built = Path(done.stdout.splitlines()[-1])
    target = work / "guest"
    target.mkdir()
    for name in ("vmlinuz", "initrd"):
        shutil.copy(built / name, target / name)
        (target / name).chmod(0o644)
    return target


def wait_for_text(path: Path, text: str, seconds: float = 120) -> None:
    """Wait until a file contains a text."""

    def there() -> bool:
        return path.exists() and text in path.read_text("utf-8", "replace")

    _wait(there, f"{path.name} never said {text}", seconds)


def _wait(condition: Callable[[], bool], problem: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(problem)
        time.sleep(0.1)


def _daemon_lives() -> bool:
    pid = _audit("pid")
    # The kernel notices that the daemon was killed only when it sends the next record to it.
    return pid > 0 and os.path.exists(f"/proc/{pid}/fd")


def _audit(field: str) -> int:
    done = subprocess.run(
        ["auditctl", "-s"], check=True, capture_output=True, text=True
    )
    match = re.search(rf"^{field} (\d+)$", done.stdout, re.MULTILINE)
    if match is None:
        raise SystemExit(f"auditctl -s says nothing of {field}")
    return int(match[1])
