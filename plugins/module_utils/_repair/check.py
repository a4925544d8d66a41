# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an earlier run, or the VM's end, left over of a task's VM: asked, and said in check mode."""

from __future__ import annotations

import typing as t

from .._vm import identity
from .._vm.macvtap import has_link
from .._vm.note import Note
from .._vm.session import Session
from .steps import Step, steps_of

if t.TYPE_CHECKING:
    from .._task.result import Report


def steps_due(session: Session) -> list[Step]:
    """Return what is left to do for the VM of a task, in order."""
    note = session.note
    if note is None:
        return []
    return steps_of(note, not _is_dead(note), session.nics, has_link)


def needs_repair(session: Session) -> bool:
    """Tell whether something is left to do, or an earlier task was cut off."""
    note = session.note
    return note is not None and (note.busy is not None or bool(steps_due(session)))


def foresee_repair(session: Session, report: Report) -> None:
    """Say in check mode what the run does, and show the session as that will leave it."""
    for step in steps_due(session):
        report.warnings.append(step.foreseen)
        report.changed |= step.records
        if step.action == "end":
            session.disconnect()
        elif step.action == "take_back" and step.nic is not None:
            session.nics.pop(step.nic.mac, None)


def _is_dead(note: Note) -> bool:
    """Tell whether the qemu that was noted has ended."""
    process = identity.noted(note)
    return process is not None and not process.is_alive()
