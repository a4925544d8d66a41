# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes NICs out of a running VM: the guest's side, the host's side, the records."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from .._audit.messages import Messages
from .._device import Device
from .._errors import LinkError, PendingError
from .._net import holdings
from .._net.holdings import Holding
from .._qemu import hotplug
from .._repair.nic_end import nic_end_records, remove_remains
from .._vm.history import of_note
from .._vm.nic import Nic
from .._vm.note import NicNote, Note
from .._vm.vm import Vm

if t.TYPE_CHECKING:
    from .._audit.record import Record
    from .._audit.sent import Sent
    from .._task.result import Report

# How long a guest whose host side was revoked gets to let go of its NIC as well.
_GRACE_SECONDS = 1.0

Action = t.Literal["detached", "revoked", "absent", "pending"]


@dataclasses.dataclass
class Outcome:
    """What became of one NIC.

    ``pending``: the guest still has its side. ``released`` are the devices that qemu gave up.
    ``left`` says why the macvtap is still there, when it could not be removed, ``refused`` why
    qemu did not even ask the guest, ``holding`` who still holds the NIC's link when the VM's qemu does not.
    """

    mac: str
    action: Action
    pending: bool = False
    released: list[Device] = dataclasses.field(default_factory=list)
    left: str | None = None
    refused: str | None = None
    holding: Holding | None = None

    def result(self) -> dict[str, t.Any]:
        """Return the module's value for the NIC."""
        return {
            "mac": self.mac,
            "action": self.action,
            "pending": self.pending,
            "released": [opened.result() for opened in self.released],
        }


def release(
    vm: Vm,
    note: Note,
    nics: t.Sequence[Nic],
    force: bool,
    report: Report,
    messages: Messages,
    outcomes: list[Outcome],
) -> None:
    """Take NICs out of a running VM; add an outcome to ``outcomes`` for each that is done.

    The guest is asked for all of them at once. What it does not let go of in time is
    recorded as a failed detach, and nothing of it is closed. With ``force`` the host side is
    closed first. Raises :class:`MonitorError`, :class:`AuditError`.
    """
    for nic in nics:
        note.interfaces.setdefault(nic.mac, nic.as_note())
    if force:
        _close(vm, note, nics, "revoked", report, messages, outcomes)
        # After the host side, so that a guest that hangs delays nothing.
        kept = _ask_guest(vm, note, nics, _grace(vm))
        _pull_out(vm, note, nics, outcomes, kept)
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
            # Its host side was closed before this run, and the guest's is still there.
            outcome.action = "absent"


def require_gone(
    name: str, timeout: float, force: bool, outcomes: t.Sequence[Outcome]
) -> None:
    """Require that qemu gave up every NIC that VM ``name`` was to lose, and that nothing of it is left.

    Raises :class:`PendingError` when qemu kept one, after ``timeout`` seconds or for good, and
    :class:`LinkError` when only a macvtap is left.
    """
    problems = [outcome.left for outcome in outcomes if outcome.left is not None]
    problems += [
        f"VM {name} has given up {outcome.mac}, and it is not free: {outcome.holding}. Nothing of it is on record as"
        " given up; end that process, or find out how it got the device, and run the task again"
        for outcome in outcomes
        if outcome.holding is not None
    ]
    kept = [
        outcome
        for outcome in outcomes
        if outcome.action == "pending" and outcome.holding is None
    ]
    asked = ", ".join(outcome.mac for outcome in kept if force or not outcome.refused)
    if asked and force:
        problems.append(
            f"the host side of {asked} cannot be closed: this qemu keeps it as long as the guest of VM"
            f" {name} has the NIC, and the NIC cannot be pulled out of this machine. qemu still holds the"
            " devices and the VM its network; stop the VM (stop_vm: destroy) if it must not keep it"
        )
    elif asked:
        problems.append(
            f"the guest of VM {name} did not let go of {asked} within {timeout:g} s."
            " qemu still holds the devices and the VM its network; the request stays pending. Run the task again"
            " when the guest is up, or use force: true to close the host side at once"
        )
    problems += [
        f"qemu does not unplug {outcome.mac} from VM {name}: {outcome.refused}. It still holds the devices and the VM"
        " its network; use force: true to close the host side, or stop the VM"
        for outcome in kept
        if outcome.refused and not force
    ]
    if problems:
        pending = any(outcome.action == "pending" for outcome in outcomes)
        raise (PendingError if pending else LinkError)("; ".join(problems))


def _ask_guest(
    vm: Vm, note: Note, nics: t.Sequence[Nic], seconds: float
) -> dict[str, str | None]:
    """Ask the guest to let go; return the MACs of the NICs that it still has, with qemu's reason if it refused to ask."""
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
    """Close the host sides of NICs, see in /proc that they are closed, and record it.

    ``left`` are the MACs of those that the guest did not let go of. Adds an outcome for each NIC whose records are written.
    """
    found = _close_backends(
        vm, note, [nic for nic in nics if nic.mac not in left], action
    )
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
        if written and outcome.action == action:
            outcome.left = _remove_remains(note.interfaces[nic.mac])
    vm.state.save(note)


def _close_backends(
    vm: Vm, note: Note, nics: t.Sequence[Nic], action: Action
) -> dict[str, Outcome]:
    """Close the host sides of NICs; return what became of each, by MAC."""
    live = vm.live
    held: dict[str, list[Device]] = {}
    if action == "revoked":
        for nic in nics:
            if nic.front_end is not None and hotplug.loses_its_back_end(nic.devices):
                with _may_freeze(vm, note, True):
                    path = nic.front_end.path
                    held[nic.netdev] = hotplug.revoke(
                        live.monitor, live.process, nic.netdev, path, nic.devices
                    )
    together = {nic.netdev: nic.devices for nic in nics if nic.netdev not in held}
    held.update(hotplug.close_backends(live.monitor, live.process, together))
    found = {}
    for nic in nics:
        entry, front_end = note.interfaces[nic.mac], nic.front_end
        kept = held[nic.netdev]
        if kept and action == "revoked" and front_end is not None:
            with _may_freeze(vm, note, True):
                kept = hotplug.take_away(
                    live.monitor, live.process, front_end.path, nic.devices
                )
        if kept:
            found[nic.mac] = Outcome(nic.mac, "pending")
        elif entry.phase == "revoked":
            known: Action = "detached" if action == "detached" else "absent"
            found[nic.mac] = Outcome(nic.mac, known)
        else:
            holding = holdings.wait_free(entry.ifname, entry.ifindex, live.process)
            found[nic.mac] = (
                Outcome(nic.mac, action, released=entry.devices)
                if holding is None
                else Outcome(nic.mac, "pending", holding=holding)
            )
    return found


def _records_of(outcome: Outcome, entry: NicNote, messages: Messages) -> list[Record]:
    """Return the records of what became of a NIC; none where its host side was closed before."""
    if outcome.action == "pending":
        return [messages.net_detach(entry.mac, success=False)]
    if entry.phase == "revoked":
        return []
    return nic_end_records(entry, of_note(entry), "attach", messages)


def _remove_remains(entry: NicNote) -> str | None:
    """Remove what is left of a NIC that nobody holds. Return why that failed."""
    try:
        remove_remains(entry, free=True)
    except LinkError as exc:
        return str(exc)
    return None


def _grace(vm: Vm) -> float:
    """Return for how many seconds a guest that lost its host side is waited for; one that stands still cannot answer."""
    running = vm.live.monitor.execute("query-status")["running"]
    return min(_GRACE_SECONDS, vm.target.timeout) if running else 0.0


def _pull_out(
    vm: Vm,
    note: Note,
    nics: t.Sequence[Nic],
    outcomes: t.Sequence[Outcome],
    kept: dict[str, str | None],
) -> None:
    """Pull out the cards that guests keep whose host side is closed; take them off ``kept``.

    A card that stays keeps its MAC and its port for as long as the VM runs.
    """
    closed = {outcome.mac for outcome in outcomes if outcome.action != "pending"}
    paths = {
        nic.mac: nic.front_end.path
        for nic in nics
        if nic.front_end is not None and nic.mac in closed and nic.mac in kept
    }
    with _may_freeze(vm, note, bool(paths)):
        for mac, path in paths.items():
            if hotplug.pull_out(vm.live.monitor, path):
                del kept[mac]


@contextlib.contextmanager
def _may_freeze(vm: Vm, note: Note, freezes: bool) -> t.Iterator[None]:
    """Note that the guest may stand still for a moment: when that is cut off, the next task goes on with it."""
    if freezes:
        note.frozen = vm.live.monitor.execute("query-status")["running"]
        vm.state.save(note)
    yield
    note.frozen = False
