# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs Open vSwitch with its datapath in user space, because this needs no kernel module."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

BRIDGE = "vabench-ovs"
_RUN = Path("/run/openvswitch")
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def is_installed() -> bool:
    """Tell whether Open vSwitch can be started here."""
    return shutil.which("ovs-vswitchd") is not None


@contextlib.contextmanager
def running(work: Path) -> Iterator[None]:
    """Run our own switch with one bridge."""
    if (_RUN / "db.sock").exists():
        raise SystemExit("an Open vSwitch runs here already")
    _RUN.mkdir(exist_ok=True)
    database = f"{work}/ovs.db"
    try:
        _run("ovsdb-tool", "create", database, _SCHEMA)
        socket, log = f"--remote=punix:{_RUN}/db.sock", f"--log-file={work}/ovs.log"
        _run("ovsdb-server", socket, "--pidfile", "--detach", log, database)
        _run("ovs-vsctl", "--no-wait", "init")
        _run("ovs-vswitchd", "--pidfile", "--detach", log)
        datapath = ["--", "set", "bridge", BRIDGE, "datapath_type=netdev"]
        _run("ovs-vsctl", "add-br", BRIDGE, *datapath)
        # It adds the bridge to its database even if the switch cannot make the bridge.
        if not Path(f"/sys/class/net/{BRIDGE}").exists():
            raise SystemExit(f"Open vSwitch makes no bridge: {_last_words(work)}")
        yield
    finally:
        # Otherwise the link of the bridge would stay.
        remove = ["ovs-vsctl", "--timeout=5", "--if-exists", "del-br", BRIDGE]
        subprocess.run(remove, check=False, capture_output=True)
        for name in ("ovs-vswitchd", "ovsdb-server"):
            pid = _RUN / f"{name}.pid"
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid.read_text("ascii")), signal.SIGTERM)
            pid.unlink(missing_ok=True)
        (_RUN / "db.sock").unlink(missing_ok=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _last_words(work: Path) -> str:
    lines = (work / "ovs.log").read_text("utf-8", "replace").splitlines()
    told = [line for line in lines if "|ERR|" in line or "|WARN|" in line]
    return told[-1] if told else "its log says no more"
