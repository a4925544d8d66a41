# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes systemd record the end of a VM. The program for it stays on the host after the task has ended."""

from __future__ import annotations

import contextlib
import os
import sys
import typing as t

from .. import _zipapp
from .._errors import VirtauditError
from .._files import write_whole
from .._qemu import systemd
from .._vm import statedir
from .._vm.note import Note
from .._vm.vm import Vm
from . import companion

if t.TYPE_CHECKING:
    from .._task.result import Report

_SUFFIX = ".pyz"


def watch(vm: Vm, note: Note, report: Report) -> None:
    """Make the companion unit of a VM that has just started, if systemd runs.

    A failure is only a warning: the next task on this host records the end of a VM without a companion.
    """
    if note.unit is None or note.pid is None:
        return
    try:
        with statedir.host_locked(vm.target.timeout):
            note.companion = _lay_down()
            vm.state.save(note)
            _remove_others(vm.uuid, note.companion)
        command = [sys.executable, "-I", note.companion]
        command += [note.uuid, str(note.pid), str(note.start_time)]
        systemd.run_after(note.unit, note.uuid, command)
    except VirtauditError as exc:
        report.warnings.append(
            f"the companion unit of VM {note.name} could not be made: {exc}. If the VM ends by itself, the next task "
            "on this host records its end, which is late"
        )


def _lay_down() -> str:
    """Write the companion's program beside the state if it does not exist yet. Return its path."""
    content = _zipapp.pack(companion.__name__[len(_zipapp.PACKAGE) + 1 :])
    path = f"{statedir.BASE}/{_zipapp.name_of(content)}"
    if _read(path) != content:
        write_whole(path, content)
    return path


def _read(path: str) -> bytes | None:
    """Return the content of a file that root owns and that only root can write."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as handle:
            status = os.fstat(fd)
            if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                return handle.read()
    return None


def _remove_others(uuid: str, kept: str) -> None:
    """Remove the programs of older versions that no VM's companion uses."""
    used = {kept, *(note.companion for note in statedir.other_notes(uuid))}
    with contextlib.suppress(OSError):
        for name in os.listdir(statedir.BASE):
            path = f"{statedir.BASE}/{name}"
            if name.endswith(_SUFFIX) and path not in used:
                os.unlink(path)
