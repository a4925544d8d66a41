# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the VM that a task names, and keeps other tasks from changing it."""

from __future__ import annotations

import contextlib
import typing as t

from .._errors import (
    LinkError,
    MonitorError,
    OptionError,
    ProcessError,
    UnreachableError,
)
from .._proc import Process, boot_id
from .._qemu.monitor import Monitor
from . import identity, statedir, target
from .nic import nameless
from .note import Note
from .statedir import VmState
from .target import Target
from .vm import Vm


@contextlib.contextmanager
def find_vm(
    wanted: Target, check_mode: bool, warnings: list[str], ends: bool = False
) -> t.Iterator[Vm]:
    """Find the VM that a task names, lock it, and look at it. In check mode write nothing and lock nothing.

    Add to ``warnings`` what the operator should know. ``ends`` tells that the task ends qemu. Such a task needs no answer
    from a VM whose process is noted. Raises :class:`VirtauditError`.
    """
    uuid, unreached = _choose_uuid(wanted, ends)
    state = VmState(uuid)
    with contextlib.ExitStack() as stack:
        if check_mode:
            statedir.check_base()
        else:
            statedir.prepare_base()
            stack.enter_context(state.locked(wanted.timeout))
        note = _read_note(state, wanted.name, not check_mode, warnings)
        vm = Vm(wanted, uuid, note, unreached)
        if ends:
            vm.look_or_end()
        else:
            vm.look()
        if vm.running:
            live = vm.live
            warnings += nameless(
                wanted.name, live.process, live.inventory, live.nics.values()
            )
        elif vm.silent is None:
            warnings += identity.strangers(wanted, uuid, note)
        try:
            yield vm
        except LinkError as exc:
            # The kernel removes the taps of a qemu that has ended, so its end is the reason.
            fate = vm.live.process.fate() if vm.running else ""
            if fate:
                raise ProcessError(f"{exc}{fate}") from exc
            raise
        finally:
            vm.disconnect()


def _choose_uuid(wanted: Target, ends: bool) -> tuple[str, UnreachableError | None]:
    """Return the VM's UUID and, if nobody listens on the monitor that the task gave, the reason."""
    reported: dict[str, str | None] = {}
    process, unreached = None, None
    if wanted.qmp_socket is not None:
        try:
            reported, process = _ask(wanted.qmp_socket, wanted.timeout)
        except UnreachableError as exc:
            unreached = exc
        except MonitorError:
            if not ends:
                raise
    try:
        return target.choose(wanted.name, wanted.uuid, reported), unreached
    except OptionError:
        if process is not None and wanted.qmp_socket is not None:
            # The VM that the task names may have another monitor. Then the message names both.
            uuid = wanted.uuid or target.default_uuid(wanted.name)
            note = VmState(uuid).load()
            identity.require_noted(wanted.qmp_socket, process, note)
            if identity.is_noted(process, wanted.name, note):
                # The look at the VM says what is wrong with its qemu.
                return uuid, None
        raise


def _ask(
    qmp_socket: str, timeout: float
) -> tuple[dict[str, str | None], Process | None]:
    """Return what the given monitor tells about its VM, and the VM's process if it can be found."""
    # The lock needs the UUID, so we ask before we lock. We disconnect before we lock, because a monitor serves one
    # client at a time, and the task that has the lock needs the monitor.
    with Monitor(qmp_socket, timeout) as monitor:
        reported = identity.reported(monitor)
        with contextlib.suppress(ProcessError):
            return reported, identity.behind(monitor, None)
        return reported, None


def _read_note(
    state: VmState, name: str, write: bool, warnings: list[str]
) -> Note | None:
    """Return the VM's note, or ``None`` if the VM has no note of this boot."""
    note = state.load()
    if note is None and state.has_unreadable():
        from .rebuild import read_note

        note = read_note(state, write)
        sources = "qemu and /proc" if note is None else "the audit log and /proc"
        warnings.append(
            f"the task cannot read the note of VM {name} in {state.path}, so it uses what {sources} tell"
        )
    # No qemu survives a reboot, so a note from before the boot means nothing.
    return note if note is not None and note.boot_id == boot_id() else None
