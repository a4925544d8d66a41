# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds at the start of each task what earlier tasks, or ends that nobody saw, have left. Does it, or says in check mode what a run would do."""

from __future__ import annotations

import typing as t

from .._audit.origin import Origin
from .._vm import identity
from .._vm.history import History
from .._vm.remains import has_remains
from .._vm.vm import Vm
from .other_vms import end_other_vms, foresee_other_vms
from .steps import Step, steps_of

if t.TYPE_CHECKING:
    from .._task.result import Report


def repair_first(vm: Vm, report: Report, origin: Origin, check_mode: bool) -> None:
    """Do what is left to do on this host before a task begins, or say it in check mode.

    Raises :class:`VirtauditError` for what is left of the task's own VM.
    """
    if check_mode:
        foresee_other_vms(vm.uuid, report)
        foresee(vm, report)
        return
    end_other_vms(vm.uuid, report, origin)
    if is_due(vm):
        # Most tasks do not need this, and each import takes time.
        from .resume import repair_as_noted

        repair_as_noted(vm, report, origin)


def is_due(vm: Vm) -> bool:
    """Tell whether something is left to do for the VM of a task, or whether an earlier task was cut off."""
    return vm.note is not None and (vm.note.busy is not None or bool(steps_due(vm)))


def steps_due(vm: Vm) -> list[Step]:
    """Return what is left to do for the VM of a task, in order."""
    note = vm.note
    if note is None:
        return []
    alive = not identity.has_ended(note)
    return steps_of(note, History(note), alive, vm.nics, has_remains)


def foresee(vm: Vm, report: Report) -> None:
    """Say in check mode what the run would do, and show the VM as it would be then."""
    for step in steps_due(vm):
        report.warnings.append(step.foreseen)
        report.changed |= step.records
        if step.action == "end":
            vm.disconnect()
        elif step.action == "take_back" and step.nic is not None:
            vm.nics.pop(step.nic.mac, None)
