# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""vm_net_detach: observe, plan, unplug or stop, record what qemu gave up."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .._audit.origin import Origin
from .._errors import MonitorError, OptionError, StopError, StuckError
from .._net.interface import parse_mac
from .._repair.check import foresee_repair, needs_repair
from .._repair.other_vms import foresee_others, settle_others
from .._repair.resume import repair_as_noted
from .._repair.vm_end import bury
from .._vm.change import noted, settle_note
from .._vm.history import Past
from .._vm.nic import Nic
from .._vm.session import Session
from .release import Action, Outcome, release, require_gone

if t.TYPE_CHECKING:
    from .._task.result import Report

_ALL = "all"
_QUIT_SECONDS = 3.0
_KILL_SECONDS = 5.0
# VIRT_CONTROL's words
_REASONS = {"shutdown": "shutdown", "destroy": "destroyed"}
_STOP_ADVICE = {
    "shutdown": "its guest may not listen to the power button: use stop_vm: destroy",
    "destroy": "the process cannot be killed, which points at the kernel or its storage",
}


def run(params: t.Mapping[str, t.Any], check_mode: bool, report: Report) -> None:
    """Detach interfaces from a VM, or stop it. Raises :class:`VirtauditError`."""
    asked = _parse_macs(params["macs"], params["stop_vm"])
    origin = Origin.of_this_process()
    with Session(params, check_mode) as session:
        report.warnings += session.warnings
        if check_mode:
            foresee_others(session.uuid, report)
        else:
            settle_others(session.uuid, report, origin)
        buried = _repair(session, report, origin, check_mode)
        report.vm = session.result()
        present, absent = _plan(session, asked, buried)
        stop = params["stop_vm"] if session.running else "never"
        planned = _predict(present, params["force"], stop)
        report.diff = _make_diff(session, planned, stop)
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
            _detach(session, present, params["force"], report, origin)
        else:
            _stop(session, stop, report, origin)


def _detach(
    session: Session,
    present: t.Sequence[Nic],
    force: bool,
    report: Report,
    origin: Origin,
) -> None:
    outcomes: list[Outcome] = []
    messages = session.messages(origin)
    try:
        release(session, present, force, report, messages, outcomes)
    finally:
        report.interfaces[:0] = [outcome.result() for outcome in outcomes]
        report.changed |= any(
            outcome.action in ("detached", "revoked") for outcome in outcomes
        )
    report.warnings += [
        f"the host side of {outcome.mac} is closed; the guest of VM {session.name} still shows the NIC,"
        " without a network. It goes when the guest lets go of it or is reset"
        for outcome in outcomes
        if outcome.pending and outcome.action != "pending"
    ]
    require_gone(session.name, session.timeout, force, outcomes)


def _stop(session: Session, how: str, report: Report, origin: Origin) -> None:
    """Stop the VM, which gives up every NIC that it has."""
    note = noted(session)
    past = Past(note)
    session.begin(note)
    outcomes = [
        Outcome(
            nic.mac, "detached", released=nic.devices if nic.phase == "held" else []
        )
        for nic in note.interfaces.values()
    ]
    named = {outcome.mac for outcome in outcomes}
    absent = [item for item in report.interfaces if item["mac"] not in named]
    reason = _REASONS[how]
    process = session.live.process
    ended = _end(session, how)
    if not ended:
        control = session.messages(origin).control(
            "stop", reason, process.pid, success=False
        )
        report.auditor.write(control)
        settle_note(session, note, report.auditor)
        report.interfaces = [
            Outcome(mac, "pending", True).result() for mac in note.interfaces
        ] + absent
        raise StopError(
            f"VM {session.name} (pid {process.pid}) did not stop within {session.timeout:g} s and keeps its network;"
            f" {_STOP_ADVICE[how]}"
        )
    session.disconnect()
    report.changed = True
    report.interfaces = [outcome.result() for outcome in outcomes] + absent
    report.vm = session.result()
    try:
        bury(note, session.state, report.auditor, origin, reason, past)
    except StuckError:
        kept = {nic.mac for nic in note.interfaces.values() if nic.phase != "revoked"}
        report.interfaces = [
            (Outcome(each.mac, "pending") if each.mac in kept else each).result()
            for each in outcomes
        ] + absent
        raise
    session.note = None


def _end(session: Session, how: str) -> bool:
    """End qemu as asked; tell whether it has ended. What counts is the process."""
    monitor, process = session.live.monitor, session.live.process
    deadline = time.monotonic() + session.timeout
    with contextlib.suppress(MonitorError):
        # It may be gone before it answers.
        monitor.execute("system_powerdown" if how == "shutdown" else "quit")
    if how == "shutdown":
        return process.wait_end(deadline - time.monotonic())
    if process.wait_end(_QUIT_SECONDS):
        return True
    process.kill()
    return process.wait_end(_KILL_SECONDS)


def _parse_macs(macs: t.Sequence[str] | None, stop_vm: str) -> list[str] | None:
    """Return the MACs in order, each once; ``None`` means all."""
    if macs is None:
        if stop_vm == "never":
            raise OptionError(
                "macs",
                "is required (a list of MACs, or all) unless stop_vm stops the VM",
            )
        return None
    if _ALL in macs:
        if len(macs) > 1:
            raise OptionError("macs", "all stands alone, without a MAC beside it")
        return None
    parsed = [parse_mac(f"macs[{index}]", mac) for index, mac in enumerate(macs)]
    return list(dict.fromkeys(parsed))


def _repair(
    session: Session, report: Report, origin: Origin, check_mode: bool
) -> dict[str, Outcome]:
    """Finish what was left over; return what that released."""
    note = session.note
    if note is None or not needs_repair(session):
        return {}
    held = [
        nic
        for nic in note.interfaces.values()
        if nic.phase == "held" and nic.mac not in session.nics
    ]
    released = {
        nic.mac: Outcome(nic.mac, "detached", released=nic.devices) for nic in held
    }
    report.changed |= bool(held) or not session.running
    if check_mode:
        foresee_repair(session, report)
    else:
        repair_as_noted(session, report, origin)
    return released


def _plan(
    session: Session, asked: t.Sequence[str] | None, buried: t.Mapping[str, Outcome]
) -> tuple[list[Nic], list[Outcome]]:
    """Return the NICs to take out, and the outcomes of those that are gone already."""
    macs = sorted({*session.nics, *buried}) if asked is None else asked
    present = [session.nics[mac] for mac in macs if mac in session.nics]
    absent = [
        buried.get(mac, Outcome(mac, "absent"))
        for mac in macs
        if mac not in session.nics
    ]
    return present, absent


def _predict(present: t.Sequence[Nic], force: bool, stop: str) -> list[Outcome]:
    """Return what will become of NICs, as far as it does not depend on the guest."""
    action: Action = "revoked" if force and stop == "never" else "detached"
    return [
        # Its host side is closed already, and only the guest can do the rest.
        (
            Outcome(nic.mac, action, released=nic.devices)
            if nic.devices or stop != "never"
            else Outcome(nic.mac, "absent", pending=True)
        )
        for nic in present
    ]


def _make_diff(
    session: Session, outcomes: t.Sequence[Outcome], stop: str
) -> dict[str, t.Any]:
    """Return before and after: the NICs that have a host side."""
    before = sorted(nic.mac for nic in session.nics.values() if nic.devices)
    gone = {outcome.mac for outcome in outcomes if outcome.action != "absent"}
    after = [] if stop != "never" else [mac for mac in before if mac not in gone]
    return {
        "before": {"running": session.running, "interfaces": before},
        "after": {"running": session.running and stop == "never", "interfaces": after},
    }
