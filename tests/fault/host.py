# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets up this machine for tests: the audit daemon, links of our own, a full state directory."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator

from ansible_collections.virtaudit.qemu.tests.fault import witness

BRIDGE, LOWER, PEER = "vafault-br", "vafault-lo", "vafault-pe"
# The bridge to which a NIC moves.
OTHER_BRIDGE = "vafault-br2"
# The lower device that a macvtap of mode passthrough uses alone, and its own MAC, which it must have again at the end.
WHOLE, WHOLE_PEER, WHOLE_MAC = "vafault-wh", "vafault-wp", "52:54:00:fa:16:01"
STATE = "/run/virtaudit"
_FILLING = f"{STATE}/filling"
_STATE_BYTES = 64 * 1024
_DAEMON_SECONDS = 20.0
# The path to which the daemon writes by default, and at which ausearch looks.
_LOGS = "/var/log/audit"
_LOG = f"{_LOGS}/audit.log"
_FILLING_LOGS = f"{_LOGS}/filling"
_LOG_BYTES = 4 * 1024 * 1024
_SUSPENDING = """\
log_file = {logs}/audit.log
log_format = ENRICHED
max_log_file_action = IGNORE
space_left = 2
space_left_action = IGNORE
admin_space_left = 1
admin_space_left_action = IGNORE
disk_full_action = SUSPEND
disk_error_action = SUSPEND
plugin_dir = {directory}/plugins.d
"""


@contextlib.contextmanager
def auditd() -> Iterator[None]:
    """Start the audit daemon if none runs. End the started one afterwards."""
    running = daemon()
    if not running:
        start_auditd()
    try:
        yield
    finally:
        if not running:
            stop_auditd()


def daemon() -> int:
    """Return the pid of the audit daemon, or 0 if there is none."""
    pid = status()["pid"]
    return pid if os.path.exists(f"/proc/{pid}/fd") else 0


def status() -> dict[str, int]:
    """Return the numbers that ``auditctl -s`` prints, by their names."""
    text = _auditctl("-s")
    pairs = re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE)
    return {key: int(value) for key, value in pairs}


def start_auditd() -> None:
    """Start the audit daemon, and wait until the kernel knows it."""
    systemd = os.path.isdir("/run/systemd/system")
    start = ["systemctl", "start", "auditd"] if systemd else ["auditd"]
    subprocess.run(start, check=True)
    _wait_daemon(True)


def stop_auditd() -> None:
    """End the audit daemon, and wait for its end."""
    # Use a signal, because the unit of systemd refuses to be stopped by hand.
    os.kill(daemon(), signal.SIGTERM)
    _wait_daemon(False)


def _wait_daemon(running: bool) -> None:
    deadline = time.monotonic() + _DAEMON_SECONDS
    while bool(daemon()) != running or (not running and status()["pid"]):
        if time.monotonic() > deadline:
            raise SystemExit(f"the audit daemon: running is not {running}")
        time.sleep(0.02)


def enable_audit() -> None:
    """Switch the kernel's auditing on."""
    _auditctl("-e", "1")


def reset_lost() -> None:
    """Let the kernel count lost records from zero again.

    Otherwise the lost records of an earlier test would be a finding in the next test.
    """
    _auditctl("--reset-lost")


def disable_audit() -> None:
    """Switch the kernel's auditing off: it drops records and acknowledges them."""
    _auditctl("-e", "0")


@contextlib.contextmanager
def small_log() -> Iterator[None]:
    """Let the audit daemon write to a small file system, and make it suspend its logging when that is full."""
    running = daemon()
    if running:
        stop_auditd()
    os.makedirs(_LOGS, 0o700, exist_ok=True)
    options = f"size={_LOG_BYTES},mode=0700"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "virtaudit-test", _LOGS], check=True
    )
    try:
        with tempfile.TemporaryDirectory() as directory:
            os.mkdir(f"{directory}/plugins.d")
            with open(f"{directory}/auditd.conf", "w", encoding="ascii") as handle:
                handle.write(_SUSPENDING.format(logs=_LOGS, directory=directory))
            os.chmod(handle.name, 0o640)
            subprocess.run(["auditd", "-c", directory], check=True)
            _wait_daemon(True)
            try:
                yield
            finally:
                stop_auditd()
    finally:
        subprocess.run(["umount", _LOGS], check=True)
        if running:
            start_auditd()


def suspend_logging() -> None:
    """Fill the disk of the daemon's log until the daemon suspends its logging.

    The daemon stays registered and writes nothing.
    """
    with open(_FILLING_LOGS, "wb", buffering=0) as handle, contextlib.suppress(OSError):
        while True:
            handle.write(b"x" * 4096)
    # The last page of its log still has room. The first record that finds no room makes the daemon suspend.
    for _batch in range(100):
        size = os.stat(_LOG).st_size
        _send_filling(50)
        _wait_backlog()
        time.sleep(0.05)
        if os.stat(_LOG).st_size == size:
            return
    raise SystemExit("the audit daemon does not suspend its logging")


def resume_logging() -> None:
    """Make room on the disk again, and let the daemon write."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_FILLING_LOGS)
    os.kill(daemon(), signal.SIGUSR2)
    deadline = time.monotonic() + _DAEMON_SECONDS
    size = os.stat(_LOG).st_size
    while os.stat(_LOG).st_size == size:
        if time.monotonic() > deadline:
            raise SystemExit("the audit daemon does not resume its logging")
        _send_filling(1)
        time.sleep(0.05)


@contextlib.contextmanager
def small_backlog() -> Iterator[None]:
    """Make the kernel's backlog small, and restore it afterwards."""
    before = status()
    _auditctl("-b", "64", "--backlog_wait_time", "0")
    try:
        yield
    finally:
        limit, wait = before["backlog_limit"], before["backlog_wait_time"]
        _auditctl("-b", str(limit), "--backlog_wait_time", str(wait))


def fill_backlog() -> None:
    """Stop the daemon, and write records until the kernel loses some."""
    os.kill(daemon(), signal.SIGSTOP)
    lost = status()["lost"]
    for _batch in range(1000):
        _send_filling(200)
        if status()["lost"] > lost:
            return
    raise SystemExit("the kernel's backlog does not fill")


def drain_backlog() -> None:
    """Let the daemon read again, and wait until the kernel has no record left to give it."""
    os.kill(daemon(), signal.SIGCONT)
    _wait_backlog()


def _send_filling(number: int) -> None:
    """Write records that mean nothing."""
    header = struct.Struct("=IHHII")
    text = b"virtaudit-test-filling\0"
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as sender:
        for _number in range(number):
            # linux/audit.h: AUDIT_USER; NLM_F_REQUEST
            head = header.pack(header.size + len(text), 1005, 1, 0, 0)
            sender.sendto(head + text, (0, 0))


def _wait_backlog() -> None:
    deadline = time.monotonic() + _DAEMON_SECONDS
    while status()["backlog"]:
        if time.monotonic() > deadline:
            raise SystemExit("the kernel's backlog does not empty")
        time.sleep(0.02)


def _auditctl(*words: str) -> str:
    return subprocess.run(
        ["auditctl", *words], capture_output=True, text=True, check=True
    ).stdout


def next_indexes() -> range:
    """Return some of the interface indexes that the next links of this machine get."""
    probe = "vafault-probe"
    subprocess.run(["ip", "link", "add", probe, "type", "bridge"], check=True)
    with open(f"/sys/class/net/{probe}/ifindex", encoding="ascii") as handle:
        number = int(handle.read())
    subprocess.run(["ip", "link", "del", probe], check=True)
    return range(number + 1, number + 30)


@contextlib.contextmanager
def links() -> Iterator[None]:
    """Make a bridge, and pairs of links to put macvtaps on."""
    commands = [
        f"link add {BRIDGE} type bridge",
        f"link set {BRIDGE} up",
        f"link add {OTHER_BRIDGE} type bridge",
        f"link set {OTHER_BRIDGE} up",
        f"link add {LOWER} type veth peer name {PEER}",
        f"link set {LOWER} up",
        f"link set {PEER} up",
        f"link add {WHOLE} address {WHOLE_MAC} type veth peer name {WHOLE_PEER}",
        f"link set {WHOLE} up",
        f"link set {WHOLE_PEER} up",
    ]
    # A run that was killed may have left them.
    _remove_links()
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        yield
    finally:
        _remove_links()
        remove_filters()


def _remove_links() -> None:
    for name in (BRIDGE, OTHER_BRIDGE, LOWER, WHOLE):
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)


def remove_filters() -> None:
    """Remove the tables of the filter, so that the next task with a filtered NIC makes them again."""
    for family in ("bridge", "netdev"):
        words = ["nft", "delete", "table", family, "virtaudit_1"]
        subprocess.run(words, check=False, capture_output=True)


def sweep(uuid: str, macs: list[str]) -> None:
    """Remove everything that a violation has left of a VM, so that it does not spoil later results."""
    for pid in witness.qemus(uuid):
        os.kill(pid, signal.SIGKILL)
    for name in witness.links(macs):
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
    shutil.rmtree(f"{STATE}/{uuid}", ignore_errors=True)
    remove_filters()


@contextlib.contextmanager
def small_state() -> Iterator[None]:
    """Mount a small file system over the state directory."""
    if os.path.isdir(STATE) and os.listdir(STATE):
        raise SystemExit(f"{STATE} is in use: VMs of this collection run here")
    os.makedirs(STATE, 0o700, exist_ok=True)
    options = f"size={_STATE_BYTES},mode=0700"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "virtaudit-test", STATE], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", STATE], check=True)


def fill_state() -> None:
    """Fill the state directory."""
    with open(_FILLING, "wb", buffering=0) as handle, contextlib.suppress(OSError):
        while True:
            handle.write(b"x" * 4096)


def empty_state() -> None:
    """Make room in the state directory again."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_FILLING)
