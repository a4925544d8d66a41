# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides what an attach will do, before anything is opened. Check mode and the real run share it."""

from __future__ import annotations

import typing as t

from .._errors import MismatchError, OptionError
from .._net.backends import backend_of
from .._net.interface import Interface
from .._vm import identity, statedir
from .._vm.differences import Move, details, differences, move_of
from .._vm.nic import Nic
from .._vm.note import Note
from .._vm.statedir import VmState
from .._vm.vm import Vm

if t.TYPE_CHECKING:
    from .._qemu.command import QemuOptions


class Step(t.NamedTuple):
    """What happens to one interface. ``nic`` is the NIC that is there now. ``replace`` takes it out first.

    ``move`` is what an update changes in place.
    """

    interface: Interface
    action: t.Literal["attach", "update", "unchanged"]
    nic: Nic | None = None
    replace: bool = False
    move: Move | None = None


class Plan(t.NamedTuple):
    """All steps. ``start`` is how to start the VM if it does not run. ``ports`` are the ports for new NICs.

    ``unlisted`` are the NICs that the task does not list. It detaches them after it has attached the others. ``closed`` are
    unlisted NICs whose host side is closed already. The task does not change them, because only the guest can release them.
    """

    steps: list[Step]
    start: QemuOptions | None
    ports: list[str]
    unlisted: tuple[Nic, ...] = ()
    closed: tuple[Nic, ...] = ()

    @property
    def changes(self) -> bool:
        """Tell whether there is anything to do."""
        return (
            self.start is not None
            or bool(self.unlisted)
            or any(step.action != "unchanged" for step in self.steps)
        )


def make_plan(
    vm: Vm, interfaces: t.Sequence[Interface], params: t.Mapping[str, t.Any]
) -> Plan:
    """Decide what to do. Raises :class:`OptionError` or :class:`MismatchError`."""
    qemu = None
    if params["qemu"] is not None:
        from .._qemu.command import parse_qemu

        qemu = parse_qemu(params["qemu"], interfaces, vm.target.audit)
    if vm.running:
        steps = [
            _step(vm, interface, params["on_mismatch"]) for interface in interfaces
        ]
        _check_new(vm, steps)
        others = _unlisted(vm, interfaces) if params["exclusive"] else []
        unlisted = tuple(nic for nic in others if not nic.is_closed)
        closed = tuple(nic for nic in others if nic.is_closed)
        return Plan(steps, None, _ports(vm, steps), unlisted, closed)
    if qemu is None:
        raise OptionError(
            "qemu",
            f"the VM {vm.name} does not run; give the option qemu to start it, or qmp_socket if another program "
            "started it",
        )
    from .._qemu import launch

    launch.find_binary(qemu.binary)
    uid, _gid = launch.ids_of(qemu.user)
    notes = statedir.other_notes(vm.uuid)
    # A real run has taken back an interrupted start before this point. Only check mode still finds
    # one here.
    ends = vm.note is not None and vm.note.booting
    identity.refuse_namesake(vm.name, vm.uuid, notes, uid, ends)
    steps = [Step(interface, "attach") for interface in interfaces]
    _check_new(vm, steps)
    return Plan(steps, qemu, [])


def _unlisted(vm: Vm, interfaces: t.Sequence[Interface]) -> list[Nic]:
    """Return the NICs that the VM has and the task does not list, by MAC."""
    listed = {interface.mac for interface in interfaces}
    return [nic for mac, nic in sorted(vm.nics.items()) if mac not in listed]


def _step(vm: Vm, interface: Interface, on_mismatch: str) -> Step:
    nic = vm.nics.get(interface.mac)
    if nic is None:
        return Step(interface, "attach")
    found = differences(interface, nic)
    if not found:
        return Step(interface, "unchanged", nic)
    if on_mismatch == "replace":
        return Step(interface, "attach", nic, replace=True)
    move = move_of(interface, nic)
    if on_mismatch == "update" and move is not None:
        if not _only_quarantines(move):
            from .._net import host

            # A macvtap in mode passthrough is on its source already, and may be there alone.
            host.check_source(interface, [nic.ifname] if nic.ifname else [])
        return Step(interface, "update", nic, move=move)
    if not nic.has_place:
        vm.live.require_alive(nic.ifname, nic.mac)
    hint = (
        ""
        if move is None
        else "on_mismatch: update to change it in place without the guest, or "
    )
    raise MismatchError(
        f"{interface.option}: {interface.mac} is attached to VM {vm.name} with other settings: {'; '.join(found)}."
        f" Nothing was changed; use {hint}on_mismatch: replace to take it out and attach it as asked"
    )


def _only_quarantines(move: Move) -> bool:
    """Tell whether an update only takes the carrier from a NIC. It needs nothing of the source, which may be down."""
    return move.before.changes(move.after) == [{"old-link": "up", "new-link": "down"}]


def _check_new(vm: Vm, steps: t.Sequence[Step]) -> None:
    """Refuse what the host cannot make, before the task takes out the NICs that it replaces."""
    new = [step for step in steps if step.action == "attach"]
    if not new:
        return
    from .._net import host

    interfaces = [step.interface for step in new]
    refuse_foreign_macs(vm, interfaces)
    # In check mode the remains of an ended VM are still there. A real run has removed them by now.
    noted = vm.note.interfaces.values() if vm.note else ()
    leftovers = {nic.ifname for nic in noted if nic.made and nic.mac not in vm.nics}
    others = statedir.other_notes(vm.uuid) if interfaces else []
    known = {
        nic.ifname: nic.mac
        for note in (*others, *([vm.note] if vm.note else []))
        for nic in note.interfaces.values()
    }
    freed = leftovers
    for step in new:
        if step.nic is not None:
            # The task replaces one NIC after the other, so those behind this one still have their links.
            if step.nic.ifname:
                freed = freed | {step.nic.ifname}
            host.check([step.interface], freed, known)
    fresh = [step.interface for step in new if step.nic is None]
    if fresh:
        host.check(fresh, freed, known)


def refuse_foreign_macs(vm: Vm, interfaces: t.Sequence[Interface]) -> None:
    """Refuse a MAC that another VM of this host has according to the host's notes."""
    for note in statedir.other_notes(vm.uuid):
        if not _claims(note):
            continue
        for interface in interfaces:
            nic = note.interfaces.get(interface.mac)
            if nic is not None and nic.phase != "revoked":
                from .._net import host

                raise host.held_elsewhere(
                    interface, f"{note.name} (uuid {note.uuid}, pid {note.pid})"
                )


def _claims(note: Note) -> bool:
    """Tell whether a note belongs to a running VM, or to a VM that a task is starting just now."""
    process = note.process
    if process is None:
        return VmState(note.uuid).is_locked()
    return process.is_alive()


def _ports(vm: Vm, steps: t.Sequence[Step]) -> list[str]:
    """Return the free ports for new NICs, or none if the machine hot-plugs without ports."""
    needed = [
        step for step in steps if step.action == "attach" and step.interface.is_pci
    ]
    if not needed:
        return []
    # A NIC that the task replaces frees its own port, if it has one.
    fresh = [step for step in needed if step.nic is None or not step.nic.is_pci]
    free = vm.live.free_ports(len(needed))
    if vm.live.inventory.has_ports and len(fresh) > len(free):
        refused = fresh[len(free)].interface
        raise OptionError(
            refused.option,
            f"there is no free PCIe root port for {refused.mac}: the VM has {len(free)} free and the task needs "
            f"{len(fresh)}. Nothing was opened; detach a NIC, or start the VM with more qemu.hotplug_ports",
        )
    return free


def complaints(plan: Plan) -> list[str]:
    """Return why the networks of the NICs would pass no frames, although the NICs can be made."""
    found = []
    for step in plan.steps:
        wanted, nic = step.interface, step.nic
        # A new port still has to wait for its spanning tree.
        stays = nic is not None and not step.replace and nic.source == wanted.source
        ifname = nic.ifname if nic is not None and stays else None
        for words in backend_of(wanted.type).complaints(wanted.source, ifname):
            found.append(f"{wanted.option} ({wanted.mac}): {words}")
    return found


def planned_result(plan: Plan) -> list[dict[str, t.Any]]:
    """Return the module's ``interfaces`` as far as they are known before anything is opened."""
    planned = []
    for step in plan.steps:
        if step.nic is not None and step.action == "unchanged":
            planned.append({**step.nic.result(), "action": "unchanged"})
        elif step.nic is not None and step.move is not None:
            planned.append(updated(step.nic.result(), step.move))
        else:
            planned.append({**asked(step.interface), "action": "attached"})
    planned += [{**nic.result(), "action": "detached"} for nic in plan.unlisted]
    return planned


def asked(interface: Interface) -> dict[str, t.Any]:
    """Return the value of a NIC that a task asks for, without its devices."""
    return {
        "mac": interface.mac,
        "type": interface.type,
        "source": interface.source,
        "ifname": interface.ifname,
        "queues": interface.queues,
        "network": interface.network.result(),
        "devices": [],
    }


def updated(nic: dict[str, t.Any], move: Move) -> dict[str, t.Any]:
    """Return the module's value for a NIC that was, or will be, updated in place."""
    after = {"source": move.after.source, "network": move.after.result()}
    return {**nic, **after, "action": "updated"}


def make_diff(vm: Vm, plan: Plan) -> dict[str, t.Any]:
    """Return before and after for Ansible's diff mode: the VM's NICs, without numbers that the kernel chooses."""
    before = {mac: _essence(nic.result()) for mac, nic in vm.nics.items()}
    after = dict(before)
    for step in plan.steps:
        mac, (had, gets) = step.interface.mac, _details(step)
        if step.action == "attach":
            after[mac] = {**_essence(asked(step.interface)), **gets}
        elif step.nic is not None and step.move is not None:
            planned = updated(step.nic.result(), step.move)
            after[mac] = {**_essence(planned), **gets}
        if had:
            before[mac] = {**before[mac], **had}
    for nic in plan.unlisted:
        del after[nic.mac]
    return {
        "before": {"running": vm.running, "interfaces": before},
        "after": {"running": True, "interfaces": after},
    }


def _details(step: Step) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return values before and after a step. They are the values that the step changes and that no result has."""
    if step.nic is None or step.action == "unchanged":
        return {}, {}
    pairs = details(step.interface, step.nic, step.move)
    return (
        {name: have for name, (have, _want) in pairs.items()},
        {name: want for name, (_have, want) in pairs.items()},
    )


def _essence(nic: dict[str, t.Any]) -> dict[str, t.Any]:
    left_out = ("mac", "devices", "action")
    return {key: value for key, value in nic.items() if key not in left_out}
