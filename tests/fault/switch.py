# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An Open vSwitch for tests, with its datapath in user space. Tests can harm it, and ask ovs-vsctl about its ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

BRIDGE = "vafault-ovs"
_RUN = Path("/run/openvswitch")
_SOCKET = _RUN / "db.sock"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_DATABASE = _RUN / "vafault.db"
_SECONDS = 10.0


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Run a switch with a bridge while the block runs."""
    if _SOCKET.exists():
        raise SystemExit(f"{_SOCKET} is in use: Open vSwitch runs here")
    _RUN.mkdir(exist_ok=True)
    _DATABASE.unlink(missing_ok=True)
    try:
        _run("ovsdb-tool", "create", str(_DATABASE), _SCHEMA)
        start_database()
        _run("ovs-vsctl", "--no-wait", "init")
        _run("ovs-vswitchd", "--pidfile", "--detach", "--log-file=/dev/null")
        add_bridge()
        yield
    finally:
        remove_bridge()
        for name in ("ovs-vswitchd", "ovsdb-server"):
            _end(name)
        for path in _RUN.glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def hang() -> None:
    """Stop the process of the switch, and let its database run."""
    os.kill(_pid("ovs-vswitchd"), signal.SIGSTOP)


def go_on() -> None:
    """Let the process of the switch continue."""
    os.kill(_pid("ovs-vswitchd"), signal.SIGCONT)


def stop_database() -> None:
    """End the database, and let the switch run."""
    _end("ovsdb-server")


def start_database() -> None:
    """Start the server of the database, and wait until it answers."""
    words = (f"--remote=punix:{_SOCKET}", "--pidfile", "--detach")
    _run("ovsdb-server", *words, "--log-file=/dev/null", str(_DATABASE))


def restart_database() -> None:
    """Start the server of the database again, and wait until the switch has connected to it.

    The switch waits longer after each failed attempt.
    """
    start_database()
    words = ("set", "Open_vSwitch", ".", f"external_ids:mended={time.time_ns()}")
    _run("ovs-vsctl", "--timeout=30", *words)


def add_bridge() -> None:
    """Make the bridge."""
    options = ("--", "set", "Bridge", BRIDGE, "datapath_type=netdev")
    _run("ovs-vsctl", "--may-exist", "add-br", BRIDGE, *options)


def remove_bridge() -> None:
    """Remove the bridge with all its ports."""
    words = ["ovs-vsctl", "--timeout=5", "--if-exists", "del-br", BRIDGE]
    subprocess.run(words, check=False, capture_output=True)


def ports() -> dict[str, str]:
    """Return the VLAN of each port of the bridge, by the port's name, or nothing if no switch runs."""
    if not _SOCKET.exists():
        return {}
    names = _run("ovs-vsctl", "--timeout=5", "list-ports", BRIDGE).split()
    return {
        name: _run("ovs-vsctl", "--timeout=5", "get", "Port", name, "tag").strip()
        for name in names
    }


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _pid(name: str) -> int:
    try:
        pid = int((_RUN / f"{name}.pid").read_text("ascii"))
        command = Path(f"/proc/{pid}/comm").read_text("ascii").strip()
    except OSError:
        return 0
    return pid if command == name else 0


def _end(name: str) -> None:
    pid = _pid(name)
    if not pid:
        return
    # It may end before it gets the second signal, which only a stopped process needs.
    with contextlib.suppress(ProcessLookupError):
        for number in (signal.SIGTERM, signal.SIGCONT):
            os.kill(pid, number)
    deadline = time.monotonic() + _SECONDS
    while _pid(name) and time.monotonic() < deadline:
        time.sleep(0.01)
