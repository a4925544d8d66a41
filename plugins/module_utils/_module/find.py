# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which qemu a task means: behind the monitor that it gives, or ended."""

from __future__ import annotations

from .._errors import ProcessError, UnreachableError
from .._qemu.monitor import Monitor
from .._qemu.process import Process, all_processes, find_qemu, named

_NO_UUID = "00000000-0000-0000-0000-000000000000"


def reported(monitor: Monitor) -> dict[str, str | None]:
    """Return the name and the UUID that a qemu was started with, ``None`` for what it was not told."""
    uuid, name = monitor.execute_all("query-uuid", "query-name")
    told = str(uuid["UUID"]).lower()
    return {
        "name": name.get("name"),
        "uuid": None if told == _NO_UUID else told,
    }


def process_behind(path: str, timeout: float, uuid: str) -> Process:
    """Return the qemu that listens on a monitor. Raises :class:`MonitorError`, :class:`ProcessError`."""
    with Monitor(path, timeout) as monitor:
        peer = Process.of(monitor.peer_pid())
    if peer is not None and peer.is_qemu():
        return peer
    # libvirt makes the socket itself and passes it on, so the peer is not qemu.
    process = find_qemu(uuid)
    if process is None:
        raise ProcessError(
            f"the process behind the QMP socket {path} is no qemu that can be found in /proc"
        )
    return process


def require_ended(unreached: UnreachableError, name: str, uuid: str) -> None:
    """Require that a VM whose monitor nobody serves has ended, and does not only have another monitor.

    Raises ``unreached`` when a qemu runs that is this VM, or does not tell which it is.
    """
    for process in filter(Process.is_qemu, all_processes()):
        its_name, its_uuid = named(process.command_line())
        if its_name in (None, name) or its_uuid == uuid:
            raise unreached
