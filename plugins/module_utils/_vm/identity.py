# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which process a VM is. No other code decides it.

It relies on facts that a process cannot choose: the noted pid and start time, the program that it runs, its
uid, the peer of the monitor's socket (SO_PEERCRED), and the UUID that qemu itself reports.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import typing as t
import uuid as uuidlib

from .._errors import MonitorError, OptionError, ProcessError, UnreachableError
from .._proc import Process, all_processes
from .._qemu.answers import malformed, value_of
from .._qemu.monitor import Monitor
from .._qemu.process import find_named, find_qemu, is_qemu, owner_of_cpus, told
from .note import Note
from .statedir import VmState
from .target import Target, choose

_NO_UUID = "00000000-0000-0000-0000-000000000000"
_ROOT = 0


def expected(target: Target, uuid: str, note: Note | None) -> Process | None:
    """Return the living process that the VM is according to its note or /proc. The code asks its monitor later.

    Raises :class:`OptionError` if the VM has no monitor of this collection and the task gives none.
    """
    known = note.process if note else None
    if known is not None:
        return known if known.is_alive() else None
    if target.qmp_socket is not None:
        return None
    found = find_qemu(uuid, [*uids_of(note), *_uids_named(target.user)])
    if found is not None and not os.path.exists(VmState(uuid).qmp_socket):
        raise OptionError(
            "qmp_socket",
            f"the VM runs (pid {found.pid}), and this collection did not start it; give the path of its own QMP socket",
        )
    return found


def uids_of(note: Note | None) -> list[int]:
    """Return qemu's uid from the VM's note, if it is not root's."""
    return [] if note is None or note.uid is None else [note.uid]


def reported(monitor: Monitor) -> dict[str, str | None]:
    """Return the name and the UUID that a qemu reports, or ``None`` for what it was started without.

    Raises :class:`ProcessError` if neither qemu nor a relay that root runs serves the monitor.
    """
    _require_server(monitor)
    return _said_by(monitor)


def _said_by(monitor: Monitor) -> dict[str, str | None]:
    uuid, name = monitor.execute_all("query-uuid", "query-name")
    text = value_of("query-uuid", uuid, "UUID", str)
    try:
        # The UUID becomes the name of a directory, so refuse any other text.
        said = str(uuidlib.UUID(text))
    except ValueError as exc:
        raise malformed("query-uuid", uuid) from exc
    named = isinstance(name, dict) and "name" in name
    return {
        "name": value_of("query-name", name, "name", str) if named else None,
        "uuid": None if said == _NO_UUID else said,
    }


def behind(monitor: Monitor, note: Note | None) -> Process:
    """Return the qemu that serves a monitor. Raises :class:`ProcessError`.

    qemu is the peer of the socket, even if another process made the socket and passed it on, because qemu itself calls
    listen(2).
    Behind a relay that root runs, qemu is the process that has the threads of the VM's CPUs.
    """
    pid = _require_server(monitor, note)
    peer = Process.of(pid)
    if peer is not None and _may_be(peer, note):
        return peer
    process = owner_of_cpus(monitor)
    if process is None or not _may_be(process, note):
        raise ProcessError(
            f"pid {pid} ({_program(peer)}) serves the QMP socket {monitor.path}, but is not a qemu and leads to none "
            "on this host. Nothing was recorded and nothing changed; give the path of the VM's own monitor"
        )
    return process


def require_started(monitor: Monitor, process: Process, name: str, uuid: str) -> None:
    """Require that a qemu that has just started says that it is the VM of the task. Raises :class:`ProcessError`.

    With another name or UUID, no later task could find the VM that the records name.
    """
    said = _said_by(monitor)
    if said != {"name": name, "uuid": uuid}:
        raise ProcessError(
            f"qemu (pid {process.pid}) started with the name {said['name']!r} and the UUID {said['uuid']}, and the task "
            f"gave it the name {name!r} and the UUID {uuid}. The task ended the VM before its guest ran. Look for the "
            "reason in qemu.args, and in qemu.binary if that is a script"
        )


def refuse_noted_elsewhere(
    path: str, process: Process, note: Note | None, others: t.Callable[[], list[Note]]
) -> None:
    """Refuse a monitor of a process that this host has noted as another VM. Raises :class:`OptionError`.

    Otherwise the records would name two VMs for one process. ``others`` reads the notes of the host's other VMs. The code
    calls it only if the process is not the VM's noted process, because the call takes time.
    """
    if note is not None and note.process == process:
        return
    for other in others():
        if other.process == process:
            raise OptionError(
                "qmp_socket",
                f"{path} is the monitor of pid {process.pid} ({process.exe()}), which is VM {other.name} with the UUID "
                f"{other.uuid} according to the note that this host made when the VM got its network devices. Nothing "
                "was recorded and nothing changed; give that name and that UUID",
            )


def require_noted(path: str, process: Process, note: Note | None) -> None:
    """Require that a monitor belongs to the VM's noted process, as long as that process lives.

    Raises :class:`OptionError`.
    """
    known = note.process if note else None
    if note is None or known is None or process == known or not known.is_alive():
        return
    raise OptionError(
        "qmp_socket",
        f"{path} is the monitor of pid {process.pid} ({process.exe()}), and VM {note.name} runs as pid {known.pid} "
        f"({known.exe()}), which was noted when the VM got its network devices. Nothing was recorded and nothing "
        f"removed; give the monitor of pid {known.pid}, which is {note.qmp_socket}, or stop that VM first",
    )


def is_noted(process: Process, name: str, note: Note | None) -> bool:
    """Tell whether a process is that of a VM according to a note, which also has the name."""
    return note is not None and (note.process, note.name) == (process, name)


def require_same(
    said: t.Mapping[str, str | None],
    process: Process,
    name: str,
    uuid: str,
    note: Note | None,
) -> None:
    """Require that a qemu says that it is the VM of the task, because records with the name of another VM would be wrong.

    ``said`` is what it says. Raises :class:`OptionError` if the task gives another VM, and :class:`MonitorError` if the
    noted process of the VM says that it is another VM now.
    """
    try:
        choose(name, uuid, said)
    except OptionError as exc:
        if not is_noted(process, name, note):
            raise
        raise MonitorError(
            f"qemu (pid {process.pid}), which is VM {name} with the UUID {uuid} according to the note of this host, now "
            f"reports the name {said['name']!r} and the UUID {said['uuid']}, which no qemu does: somebody has changed this "
            "qemu. End the VM (vm_net_detach with stop_vm: destroy)"
        ) from exc


def require_ended(
    unreached: UnreachableError, name: str, uuid: str, note: Note | None
) -> None:
    """Require that a VM has ended if nobody serves its monitor, because the VM could have another monitor.

    Raises ``unreached`` if its noted process lives, or if a qemu runs that is this VM or that does not tell which VM
    it is.
    """
    known = note.process if note else None
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

    ``others`` are the notes of this host's other VMs, and ``uid`` is the uid that qemu will have. ``ends`` tells
    that the run first ends a qemu of this UUID. Check mode only foresees that. Raises :class:`OptionError`.
    """
    for note in others:
        known = note.process if note else None
        if note.name == name and known is not None and known.is_alive():
            raise _namesake(name, uuid, known, note.uuid)
    found = find_named(name, [uid], uuid if ends else None)
    if found is not None:
        process, said = found
        raise _namesake(name, uuid, process, said.uuid)


def strangers(target: Target, uuid: str, note: Note | None) -> list[str]:
    """Return in words which qemus of other users have the name or the UUID of a VM. None of them counts as the VM."""
    known = (_ROOT, *uids_of(note), *_uids_named(target.user))
    words = []
    for process in all_processes():
        found = told(process.command_line())
        what = "UUID" if found.uuid == uuid else "name"
        if (found.uuid == uuid or found.name == target.name) and is_qemu(process):
            uid = process.uid()
            if uid is not None and uid not in known:
                words.append(
                    f"a qemu of user id {uid} (pid {process.pid}) has the {what} of VM {target.name}. The task does "
                    "not treat it as that VM and does nothing to it. If it is that VM, give qmp_socket, or for a "
                    "start qemu.user"
                )
    return words


def _uids_named(user: str | None) -> list[int]:
    """Return the uid of a user that a task names for qemu, if there is such a user."""
    # No user has a name with a NUL byte, or without an encoding. The check of the option comes later.
    with contextlib.suppress(KeyError, ValueError):
        return [pwd.getpwnam(user).pw_uid] if user else []
    return []


def _namesake(
    name: str, uuid: str, process: Process, running: str | None
) -> OptionError:
    under = f"the UUID {running}" if running else "no UUID of its own"
    return OptionError(
        "uuid",
        f"a VM named {name} runs already, with {under} (pid {process.pid}), and this task gives the UUID {uuid}. "
        "Nothing was started; give the UUID of the VM that runs, or another name",
    )


def _require_server(monitor: Monitor, note: Note | None = None) -> int:
    """Return the pid of the process that serves a monitor. Require that the process is qemu, or that root runs it."""
    pid, uid = monitor.peer()
    peer = Process.of(pid)
    if uid != _ROOT and (peer is None or not _may_be(peer, note)):
        raise ProcessError(
            f"pid {pid} ({_program(peer)}) of user id {uid} serves the QMP socket {monitor.path}, but is not a qemu. "
            "Nothing was recorded and nothing changed; give the path of the VM's own monitor"
        )
    return pid


def _may_be(process: Process, note: Note | None) -> bool:
    """Tell whether a process can be a VM. Any qemu can be one, and so can the noted process with any program name."""
    noted = note.process if note else None
    return process == noted or is_qemu(process)


def _program(process: Process | None) -> str:
    return (process.exe() if process else "") or "a program that cannot be read"
