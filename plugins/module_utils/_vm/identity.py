# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which process a VM is. No other place decides it.

It relies on what a process cannot choose: the noted pid and start time, the program that it runs, its uid, the peer of
the monitor's socket (SO_PEERCRED), and the UUID that qemu itself tells.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import typing as t

from .._errors import OptionError, ProcessError, UnreachableError
from .._proc import Process, all_processes
from .._qemu.monitor import Monitor
from .._qemu.process import find_named, find_qemu, is_qemu, owner_of_cpus, told
from .note import Note
from .statedir import VmState
from .target import Target

_NO_UUID = "00000000-0000-0000-0000-000000000000"
_ROOT = 0


def noted(note: Note | None) -> Process | None:
    """Return the process that a VM's note names, alive or not; ``None`` when it names none."""
    if note is None or note.pid is None or note.start_time is None:
        return None
    return Process(note.pid, note.start_time)


def has_ended(note: Note) -> bool:
    """Tell whether a VM's note names a process that has ended."""
    process = noted(note)
    return process is not None and not process.is_alive()


def expected(target: Target, uuid: str, note: Note | None) -> Process | None:
    """Return the living process that a VM should be by its note or /proc. Its monitor is asked later.

    Raises :class:`OptionError` if the VM has no monitor of this collection and the task gives none.
    """
    known = noted(note)
    if known is not None:
        return known if known.is_alive() else None
    if target.qmp_socket is not None:
        return None
    found = find_qemu(uuid, [*uids_of(note), *_uids_named(target.user)])
    if found is not None and not os.path.exists(VmState(uuid).qmp_socket):
        raise OptionError(
            "qmp_socket",
            f"the VM runs (pid {found.pid}) and was not started by this collection;"
            " give the path of a QMP socket of its own",
        )
    return found


def uids_of(note: Note | None) -> list[int]:
    """Return the uid that qemu has by the VM's note, if it is not root's."""
    return [] if note is None or note.uid is None else [note.uid]


def reported(monitor: Monitor) -> dict[str, str | None]:
    """Return the name and the UUID that a qemu tells, ``None`` for what it was not started with.

    Raises :class:`ProcessError` when neither qemu nor a relay of root's serves the monitor.
    """
    _require_server(monitor)
    uuid, name = monitor.execute_all("query-uuid", "query-name")
    said = str(uuid["UUID"]).lower()
    return {
        "name": name.get("name"),
        "uuid": None if said == _NO_UUID else said,
    }


def behind(monitor: Monitor, note: Note | None) -> Process:
    """Return the qemu that serves a monitor. Raises :class:`ProcessError`.

    qemu is the peer of the socket, even if another process made the socket and passed it on, because qemu listens anew.
    Behind a relay that root runs, qemu is the process that has the threads of the VM's CPUs.
    """
    pid = _require_server(monitor, note)
    peer = Process.of(pid)
    if peer is not None and _may_be(peer, note):
        return peer
    process = owner_of_cpus(monitor)
    if process is None or not _may_be(process, note):
        raise ProcessError(
            f"the QMP socket {monitor.path} is served by pid {pid} ({_program(peer)}), which is no qemu and leads to"
            " none on this host. Nothing was recorded and nothing changed; give the path of the VM's own monitor"
        )
    return process


def require_noted(path: str, process: Process, note: Note | None) -> None:
    """Require that a monitor belongs to the VM's noted process, as long as that process lives.

    Raises :class:`OptionError`.
    """
    known = noted(note)
    if note is None or known is None or process == known or not known.is_alive():
        return
    raise OptionError(
        "qmp_socket",
        f"{path} is the monitor of pid {process.pid} ({process.exe()}), and VM {note.name} runs as pid {known.pid}"
        f" ({known.exe()}), as noted when it got its network devices. Nothing was recorded and nothing removed; give"
        f" the monitor of pid {known.pid}, which is {note.qmp_socket}, or stop that VM first",
    )


def require_ended(
    unreached: UnreachableError, name: str, uuid: str, note: Note | None
) -> None:
    """If nobody serves the monitor of a VM, require that the VM has ended. It could also have another monitor.

    Raises ``unreached`` if its noted process lives, or if a qemu runs that is this VM or does not tell which VM it is.
    """
    known = noted(note)
    if known is not None and known.is_alive():
        raise unreached
    for process in all_processes():
        if not is_qemu(process):
            continue
        found = told(process.command_line())
        if found.name in (None, name) or found.uuid == uuid:
            raise unreached


def refuse_namesake(
    name: str, uuid: str, others: t.Iterable[Note], uid: int, ends: bool = False
) -> None:
    """Refuse to start a VM if another VM of this host has the same name and another UUID.

    ``others`` are the notes of this host's other VMs, ``uid`` is that which qemu is to run with. ``ends``: a
    qemu of this UUID is ended before, which check mode only foresees. Raises :class:`OptionError`.
    """
    for note in others:
        known = noted(note)
        if note.name == name and known is not None and known.is_alive():
            raise _namesake(name, uuid, known, note.uuid)
    found = find_named(name, [uid], uuid if ends else None)
    if found is not None:
        process, said = found
        raise _namesake(name, uuid, process, said.uuid)


def strangers(target: Target, uuid: str, note: Note | None) -> list[str]:
    """Return in words which qemus of other users have the name or the UUID of a VM. None of them is taken for the VM."""
    known = (_ROOT, *uids_of(note), *_uids_named(target.user))
    words = []
    for process in all_processes():
        found = told(process.command_line())
        what = "UUID" if found.uuid == uuid else "name"
        if (found.uuid == uuid or found.name == target.name) and is_qemu(process):
            uid = process.uid()
            if uid is not None and uid not in known:
                words.append(
                    f"a qemu of user id {uid} (pid {process.pid}) has the {what} of VM {target.name}. It is not taken for that VM,"
                    " and nothing is done to it; if it is that VM, give qmp_socket, or qemu.user when it is to be started"
                )
    return words


def _uids_named(user: str | None) -> list[int]:
    """Return the uid of a user that a task names for qemu, if there is such a user."""
    with contextlib.suppress(KeyError):
        return [pwd.getpwnam(user).pw_uid] if user else []
    return []


def _namesake(
    name: str, uuid: str, process: Process, running: str | None
) -> OptionError:
    under = f"the UUID {running}" if running else "no UUID of its own"
    return OptionError(
        "uuid",
        f"a VM named {name} runs already, with {under} (pid {process.pid}); this task names it with the UUID {uuid}."
        " Nothing was started: give the UUID of the VM that runs, or another name",
    )


def _require_server(monitor: Monitor, note: Note | None = None) -> int:
    """Return the pid of the process that serves a monitor. Require that it is qemu, or that root runs it."""
    pid, uid = monitor.peer()
    peer = Process.of(pid)
    if uid != _ROOT and (peer is None or not _may_be(peer, note)):
        raise ProcessError(
            f"the QMP socket {monitor.path} is served by pid {pid} ({_program(peer)}) of user id {uid}, which is no"
            " qemu. Nothing was recorded and nothing changed; give the path of the VM's own monitor"
        )
    return pid


def _may_be(process: Process, note: Note | None) -> bool:
    """Tell whether a process can be a VM: it is the noted one, with a program of any name, or it is a qemu."""
    return process == noted(note) or is_qemu(process)


def _program(process: Process | None) -> str:
    return (process.exe() if process else "") or "a program that cannot be read"
