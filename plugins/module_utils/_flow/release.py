# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes NICs out of a running VM: releases the guest's side, closes the host's side, and writes the records."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .._audit.messages import Messages
from .._errors import MonitorError
from .._qemu import hotplug
from .._qemu.process import is_running
from .._repair.nic_end import nic_end_records, try_remove_remains, wait_free
from .._vm.history import of_note
from .._vm.nic import Nic
from .._vm.note import NicNote, Note
from .._vm.vm import Vm
from .outcome import Action, Outcome

if t.TYPE_CHECKING:
    from .._audit.record import Record
    from .._audit.sent import Sent
    from .._task.result import Report

# How long a guest gets to release its NIC after its host side was revoked.
_GRACE_SECONDS = 1.0


def release(
    vm: Vm,
    note: Note,
    nics: t.Sequence[Nic],
    force: bool,
    report: Report,
    messages: Messages,
    outcomes: list[Outcome],
) -> None:
    """Take NICs out of a running VM. Add an outcome to ``outcomes`` for each that is done.

    Ask the guest for all of them at once. If it does not release a NIC in time, record a failed detach, and
    close none of its devices. With ``force`` close the host side first. Raises :class:`MonitorError`,
    :class:`AuditError`.
    """
    for nic in nics:
        nic.noted_in(note)
    if force:
        _close(vm, note, nics, "revoked", report, messages, outcomes)
        # This comes after the host side, so that a guest that hangs delays nothing.
        kept = _ask_guest(vm, note, nics, _grace(vm))
        _pull_out(vm, note, nics, outcomes, kept, report)
    else:
        kept = _ask_guest(vm, note, nics, vm.target.timeout)
        left = {nic.mac for nic in nics if nic.mac in kept and nic.devices}
        _close(vm, note, nics, "detached", report, messages, outcomes, left)
    report.auditor.prove_anyway()
    for nic, outcome in zip(nics, outcomes):
        outcome.pending = nic.mac in kept or outcome.action == "pending"
        outcome.refused = kept.get(nic.mac)
        if not outcome.pending:
            if outcome.left is None and not report.auditor.missed:
                del note.interfaces[nic.mac]
        elif outcome.action == "detached" and not outcome.released:
            # Its host side was closed before this run, and the guest still has its side.
            outcome.action = "absent"


def _ask_guest(
    vm: Vm, note: Note, nics: t.Sequence[Nic], seconds: float
) -> dict[str, str | None]:
    """Ask the guest to release NICs.

    Return the MACs of the NICs that it still has, with qemu's reason if qemu refused to ask.
    """
    paths = {nic.front_end.path: nic.mac for nic in nics if nic.front_end is not None}
    for mac in paths.values():
        note.interfaces[mac].pending = True
    vm.state.save(note)
    done = hotplug.unplug(vm.live.monitor, paths, time.monotonic() + seconds)
    for path in done.refused:
        note.interfaces[paths[path]].pending = False
    return {
        mac: done.refused.get(path)
        for path, mac in paths.items()
        if path not in done.gone
    }


def _close(
    vm: Vm,
    note: Note,
    nics: t.Sequence[Nic],
    action: Action,
    report: Report,
    messages: Messages,
    outcomes: list[Outcome],
    left: t.Collection[str] = (),
) -> None:
    """Close the host sides of NICs, check in /proc that they are closed, and record that.

    ``left`` are the MACs of the NICs that the guest did not release. Add an outcome for each NIC whose records
    are written.
    """
    closing = [nic for nic in nics if nic.mac not in left]
    found = _close_backends(vm, note, closing, action, report)
    sent: list[tuple[Nic, Outcome, list[Sent]]] = []
    try:
        for nic in nics:
            outcome = found.get(nic.mac) or Outcome(nic.mac, "pending")
            records = _records_of(outcome, note.interfaces[nic.mac], messages)
            sent.append((nic, outcome, [*map(report.auditor.send, records)]))
        report.auditor.confirm()
    finally:
        for nic, outcome, written in sent:
            if all(each.good for each in written):
                outcomes.append(outcome)
                if outcome.action != "pending":
                    note.interfaces[nic.mac].phase = "revoked"
    for nic, outcome, written in sent:
        if outcome.action != "pending":
            # An earlier task may have closed the host side and left something that it could not remove.
            entry = note.interfaces[nic.mac]
            outcome.left = try_remove_remains(entry, free=bool(written))
    vm.state.save(note)


def _close_backends(
    vm: Vm, note: Note, nics: t.Sequence[Nic], action: Action, report: Report
) -> dict[str, Outcome]:
    """Close the host sides of NICs. Return what happened to each, by MAC."""
    live = vm.live
    backends = {nic.netdev: nic.devices for nic in nics}
    cards = {
        nic.netdev: nic.front_end.path
        for nic in nics
        if action == "revoked" and nic.front_end is not None
    }
    held = hotplug.close_backends(
        live.monitor,
        live.process,
        backends,
        cards,
        pulling=lambda: _may_freeze(vm, note, report),
    )
    found = {}
    for nic in nics:
        entry = note.interfaces[nic.mac]
        if held[nic.netdev]:
            found[nic.mac] = Outcome(nic.mac, "pending")
        elif entry.phase == "revoked":
            known: Action = "detached" if action == "detached" else "absent"
            found[nic.mac] = Outcome(nic.mac, known)
        else:
            holding = wait_free(entry, report.auditor, live.process)
            found[nic.mac] = (
                Outcome(nic.mac, action, released=entry.devices)
                if holding is None
                else Outcome(nic.mac, "pending", holding=holding)
            )
    return found


def _records_of(outcome: Outcome, entry: NicNote, messages: Messages) -> list[Record]:
    """Return the records of what happened to a NIC, or none if its host side was closed before."""
    if outcome.action == "pending":
        return [messages.net_detach(entry.mac, success=False)]
    if entry.phase == "revoked":
        return []
    return nic_end_records(entry, of_note(entry), "attach", messages)


def _grace(vm: Vm) -> float:
    """Return how many seconds to wait for a guest that lost its host side. A paused guest cannot answer."""
    running = is_running(vm.live.monitor)
    return min(_GRACE_SECONDS, vm.target.timeout) if running else 0.0


def _pull_out(
    vm: Vm,
    note: Note,
    nics: t.Sequence[Nic],
    outcomes: t.Sequence[Outcome],
    kept: dict[str, str | None],
    report: Report,
) -> None:
    """Remove those NICs from the machine that the guest keeps after their host side is closed. Drop them from ``kept``.

    A NIC that cannot be removed keeps its MAC and its port as long as the VM runs.
    """
    closed = {outcome.mac for outcome in outcomes if outcome.action != "pending"}
    paths = {
        nic.mac: nic.front_end.path
        for nic in nics
        if nic.front_end is not None and nic.mac in closed and nic.mac in kept
    }
    if paths:
        with _may_freeze(vm, note, report):
            for mac, path in paths.items():
                if hotplug.pull_out(vm.live.monitor, path):
                    del kept[mac]


@contextlib.contextmanager
def _may_freeze(vm: Vm, note: Note, report: Report) -> t.Iterator[None]:
    """Note that the guest may be stopped for a moment.

    If the task is cut off meanwhile, or if qemu does not let the guest go on, the next task lets it go on.
    """
    note.frozen = note.frozen or is_running(vm.live.monitor)
    vm.state.save(note)
    yield
    with contextlib.suppress(MonitorError):
        # Without an answer it may be stopped still. What it has given up goes on record nevertheless.
        note.frozen = note.frozen and not is_running(vm.live.monitor)
    if note.frozen:
        report.warnings.append(
            f"the guest of VM {vm.name} is paused, because qemu did not let it go on after the task had stopped it for a "
            "moment. The next task on this VM lets it go on"
        )
