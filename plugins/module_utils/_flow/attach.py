# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""vm_net_attach: observe, plan, open, record, hand over, record.

Ansible sends no bytecode, so each task compiles what it imports: what only some tasks do is imported by those.
"""

from __future__ import annotations

import typing as t

from .._audit.origin import Origin
from .._net.interface import parse_interfaces
from .._qemu.command import monitors
from .._repair.check import foresee_repair, needs_repair
from .._repair.other_vms import foresee_others, settle_others
from .._vm.nic import strange_devices
from .._vm.session import Session
from .plan import make_diff, make_plan, planned_result

if t.TYPE_CHECKING:
    from .._task.result import Report


def run(params: t.Mapping[str, t.Any], check_mode: bool, report: Report) -> None:
    """Attach interfaces to a VM, starting it where it does not run. Raises :class:`VirtauditError`."""
    interfaces = parse_interfaces(params["interfaces"])
    origin = Origin.of_this_process()
    with Session(params, check_mode) as session:
        report.warnings += session.warnings
        if check_mode:
            foresee_others(session.uuid, report)
        else:
            settle_others(session.uuid, report, origin)
        repairs = needs_repair(session)
        if repairs and check_mode:
            foresee_repair(session, report)
        elif repairs:
            from .._repair.resume import repair_as_noted

            repair_as_noted(session, report, origin)
        session.require_reached()
        if session.note is not None and session.note.started and session.running:
            process, nics = session.live.process, session.nics.values()
            report.warnings += strange_devices(session.name, process, nics)
        plan = make_plan(session, interfaces, params)
        report.diff = make_diff(session, plan)
        if plan.start is not None:
            report.warnings += monitors(plan.start)
        report.vm = {**session.result(), "started": False}
        if not plan.changes:
            report.auditor.look()
            report.interfaces = planned_result(plan)
            return
        report.auditor.check()
        if check_mode:
            report.changed = True
            report.vm["started"] = plan.start is not None
            report.interfaces = planned_result(plan)
            return
        report.auditor.prepare()
        if plan.start is not None:
            from .cold_start import cold_start

            cold_start(session, interfaces, plan.start, report, origin)
        else:
            from .hot_plug import hot_plug

            hot_plug(session, plan, report, origin)
