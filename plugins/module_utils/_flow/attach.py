# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""vm_net_attach: observe, plan, open, record, hand over, record.

Each import takes time, even from kept bytecode. So the code imports modules that only some tasks need at the place
where they need them.
"""

from __future__ import annotations

import typing as t

from .._audit.origin import Origin
from .._net.interface_options import parse_interfaces
from .._repair.repair import repair_first
from .._vm.find import find_vm
from .._vm.nic import strange_devices
from .._vm.target import Target
from .plan import complaints, make_diff, make_plan, planned_result

if t.TYPE_CHECKING:
    from .._task.result import Report


def run(params: t.Mapping[str, t.Any], check_mode: bool, report: Report) -> None:
    """Attach interfaces to a VM. Start the VM if it does not run. Raises :class:`VirtauditError`."""
    interfaces = parse_interfaces(params["interfaces"])
    target = Target.of(params)
    origin = Origin.of_this_process()
    with find_vm(target, check_mode, report.warnings) as vm:
        repair_first(vm, report, origin, check_mode)
        vm.require_reached()
        if vm.note is not None and vm.note.started and vm.running:
            process, nics = vm.live.process, vm.nics.values()
            cut_off = [
                nic for nic in vm.note.interfaces.values() if nic.phase == "opening"
            ]
            report.warnings += strange_devices(vm.name, process, nics, cut_off)
        plan = make_plan(vm, interfaces, params)
        report.diff = make_diff(vm, plan)
        if plan.start is not None:
            from .._qemu.command import monitors

            report.warnings += monitors(plan.start)
        report.warnings += complaints(plan)
        if plan.closed:
            from .outcome import closed_words

            report.warnings += [closed_words(vm.name, nic.mac) for nic in plan.closed]
        report.vm = {**vm.result(), "started": False}
        if not plan.changes:
            report.auditor.look()
            report.interfaces = planned_result(plan)
            return
        report.auditor.check()
        if check_mode:
            if plan.start is not None:
                # The run refuses this qemu before it opens anything.
                from .._qemu import launch

                launch.version_of(launch.find_binary(plan.start.binary))
            report.changed = True
            report.vm["started"] = plan.start is not None
            report.interfaces = planned_result(plan)
            return
        report.auditor.prepare()
        if plan.start is not None:
            from .cold_start import cold_start

            cold_start(vm, interfaces, plan.start, report, origin)
        else:
            from .hot_plug import hot_plug

            hot_plug(vm, plan, report, origin)
