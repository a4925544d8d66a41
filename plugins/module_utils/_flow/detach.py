# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""vm_net_detach: observe, plan, unplug or stop, record what qemu gave up."""

from __future__ import annotations

import typing as t

from .._audit.origin import Origin
from .._errors import OptionError
from .._net.mac import parse_mac
from .._repair.repair import repair_first
from .._vm.find import find_vm
from .._vm.nic import Nic
from .._vm.target import Target
from .._vm.vm import Vm
from .outcome import Action, Outcome, require_gone, still_shown
from .release import release
from .unknown import seen_of, unknown_words

if t.TYPE_CHECKING:
    from .._task.result import Report

_ALL = "all"


def run(params: t.Mapping[str, t.Any], check_mode: bool, report: Report) -> None:
    """Detach interfaces from a VM, or stop it. Raises :class:`VirtauditError`."""
    asked = _parse_macs(params["macs"], params["stop_vm"])
    target = Target.of(params)
    origin = Origin.of_this_process()
    ends = params["stop_vm"] == "destroy"
    with find_vm(target, check_mode, report.warnings, ends) as vm:
        seen = seen_of(vm)
        released = _released(vm)
        if ends:
            from .stop import repair_anyway

            repair_anyway(vm, report, origin, check_mode)
        else:
            repair_first(vm, report, origin, check_mode)
        if vm.silent is not None and vm.note is not None:
            from .stop import end_silent

            end_silent(vm, vm.note, vm.silent, asked or [], report, origin, check_mode)
            return
        report.vm = vm.result()
        present, absent = _plan(vm, asked, released)
        report.warnings += unknown_words(vm, seen, [each.mac for each in absent])
        stop = params["stop_vm"] if vm.running else "never"
        leaving = present if stop == "never" else _all_nics(vm)
        planned = _predict(leaving, params["force"], stop)
        report.diff = _make_diff(vm, planned, stop)
        report.interfaces = [outcome.result() for outcome in absent]
        if not present and stop == "never":
            report.auditor.look()
            return
        report.auditor.check()
        if check_mode:
            report.changed |= stop != "never" or any(
                outcome.action != "absent" for outcome in planned
            )
            report.interfaces[:0] = [outcome.result() for outcome in planned]
            return
        report.auditor.prepare()
        if stop == "never":
            _detach(vm, present, params["force"], report, origin)
        else:
            # The import is here because few tasks stop a VM, and each import takes time.
            from .stop import stop as stop_vm

            stop_vm(vm, stop, report, origin)


def _detach(
    vm: Vm,
    present: t.Sequence[Nic],
    force: bool,
    report: Report,
    origin: Origin,
) -> None:
    outcomes: list[Outcome] = []
    messages = vm.messages(origin)
    try:
        with vm.change(report.auditor) as note:
            release(vm, note, present, force, report, messages, outcomes)
    finally:
        report.interfaces[:0] = [outcome.result() for outcome in outcomes]
        report.changed |= any(
            outcome.action in ("detached", "revoked") for outcome in outcomes
        )
    report.warnings += still_shown(vm.name, outcomes)
    require_gone(vm.name, vm.target.timeout, force, outcomes)


def _parse_macs(macs: t.Sequence[str] | None, stop_vm: str) -> list[str] | None:
    """Return the MACs in order, each once. ``None`` means all."""
    if macs is None:
        if stop_vm == "never":
            raise OptionError(
                "macs",
                "is required (a list of MACs, or all) unless stop_vm stops the VM",
            )
        return None
    if _ALL in macs:
        if len(macs) > 1:
            raise OptionError("macs", "give either all or MACs, and not both")
        return None
    parsed = [parse_mac(f"macs[{index}]", mac) for index, mac in enumerate(macs)]
    return list(dict.fromkeys(parsed))


def _released(vm: Vm) -> dict[str, Outcome]:
    """Return the NICs that qemu gave up before this task. The task only records that."""
    return {
        nic.mac: Outcome(nic.mac, "detached", released=nic.devices)
        for nic in (vm.note.interfaces.values() if vm.note else ())
        if nic.phase == "held" and nic.mac not in vm.nics
    }


def _plan(
    vm: Vm, asked: t.Sequence[str] | None, released: t.Mapping[str, Outcome]
) -> tuple[list[Nic], list[Outcome]]:
    """Return the NICs to take out, and the outcomes of those that are already removed."""
    macs = sorted({*vm.nics, *released}) if asked is None else asked
    present = [vm.nics[mac] for mac in macs if mac in vm.nics]
    absent = [
        released.get(mac, Outcome(mac, "absent")) for mac in macs if mac not in vm.nics
    ]
    return present, absent


def _all_nics(vm: Vm) -> list[Nic]:
    """Return all NICs of the VM in the order in which the run reports them when it ends the VM."""
    noted = vm.note.interfaces if vm.note else {}
    macs = dict.fromkeys((*noted, *vm.nics))
    return [vm.nics[mac] for mac in macs if mac in vm.nics]


def _predict(present: t.Sequence[Nic], force: bool, stop: str) -> list[Outcome]:
    """Return what will happen to NICs, unless it depends on the guest."""
    action: Action = "revoked" if force and stop == "never" else "detached"
    return [
        # The host side is closed already. Without force, only the guest can do the rest.
        (
            Outcome(nic.mac, action, released=nic.devices)
            if nic.devices or stop != "never"
            else Outcome(nic.mac, "absent", pending=not force)
        )
        for nic in present
    ]


def _make_diff(vm: Vm, outcomes: t.Sequence[Outcome], stop: str) -> dict[str, t.Any]:
    """Return before and after: the NICs that have a host side."""
    before = sorted(nic.mac for nic in vm.nics.values() if nic.devices)
    gone = {outcome.mac for outcome in outcomes if outcome.action != "absent"}
    after = [] if stop != "never" else [mac for mac in before if mac not in gone]
    return {
        "before": {"running": vm.running, "interfaces": before},
        "after": {"running": vm.running and stop == "never", "interfaces": after},
    }
