# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the trail with the running host. It looks at the host before and after it reads the logs.

Something is a finding only if it is missing both times, or is there without a record both times. So a change
that a task makes meanwhile is not a finding.
"""

from __future__ import annotations

import typing as t

from .._analysis.findings import Finding, Findings
from .._analysis.grants import Grant
from .._analysis.place import Place, compare_place
from .._analysis.trail import Trail
from .._audit.netlink import AuditSocket
from .._device import Device
from .._log.nodes import OwnNodes
from .._net import holdings
from .._net.nic_link import guest_side_mac
from .._proc import Process
from .._time import iso
from .host_view import Holder, Look
from .leaked import add_leaked


def compare(trail: Trail, before: Look, after: Look, begin: float, now: float) -> None:
    """Set ``live`` of each grant, and add findings to the trail.

    ``begin`` is when the logs begin, and ``now`` is the time, in seconds since the epoch.
    """
    nodes = OwnNodes()
    seen = [_Sight(trail, each, nodes) for each in (before, after)]
    for grant in trail.grants():
        if grant.node not in nodes:
            continue
        grant.live = any(sight.holds(grant) for sight in seen)
        if grant.live:
            places = [look.places.get(grant.link or "") for look in (before, after)]
            if any(places) or (before.is_of_host and after.is_of_host):
                compare_place(grant, places, trail.findings, now)
        else:
            trail.findings.add(_stale(grant, seen[-1].qemu_of(grant), now))
    _add_unrecorded(trail.findings, seen, begin, now)
    add_leaked(trail.findings, before, after, now)


def unchecked_filters(trail: Trail, look: Look) -> list[str]:
    """Return the NICs whose filter is on record and could not be checked."""
    return _unchecked(trail, look, "filter", lambda place: place.filtered is None)


def unchecked_places(trail: Trail, look: Look) -> list[str]:
    """Return the NICs whose network is on record, and whose place on the host nobody could tell."""
    return _unchecked(trail, look, "source", lambda place: not place.is_known)


def _unchecked(
    trail: Trail, look: Look, value: str, is_open: t.Callable[[Place], bool]
) -> list[str]:
    """Return the living NICs that have a value of their network on record, and whose place leaves it open."""
    places = look.places
    return [
        f"{grant.mac} of VM {grant.vm}"
        for grant in trail.grants()
        if grant.live
        and (grant.network or {}).get(value)
        and (place := places.get(grant.link or "")) is not None
        and is_open(place)
    ]


def add_lost(findings: Findings, now: float) -> None:
    """Ask the kernel how many records it lost since boot. Raises :class:`AuditError`."""
    with AuditSocket() as audit:
        status = audit.status()
    if status.lost:
        findings.add(
            Finding(
                code="audit_lost",
                severity="high",
                message=f"The kernel has lost {status.lost} audit records since it booted, so the trail has holes. "
                f"Raise its backlog (now {status.backlog_limit}) with 'auditctl -b', make sure that the audit "
                "daemon keeps up, and let the rules record less.",
                time=now,
            )
        )


class _Sight:
    """The host at one moment, compared with the trail. ``unrecorded`` has the devices that the trail does not explain."""

    def __init__(
        self, trail: Trail, look: Look, nodes: t.Container[str | None]
    ) -> None:
        self._vms: dict[str, list[Holder]] = {}
        self._held: set[str] = set()
        self._look = look
        pids = {
            session.pid: key[1]
            for key, session in trail.running().items()
            if key[0] in nodes
        }
        left = {each.process: list(each.devices) for each in look.qemus()}
        for holder in look.qemus():
            uuid = holder.uuid or pids.get(holder.process.pid)
            if uuid is not None:
                self._vms.setdefault(uuid, []).append(holder)
        for grant in trail.grants():
            if grant.node in nodes:
                self._match(grant, left)
        for uuid, vms in self._vms.items():
            for nics in trail.nics_of(uuid):
                # Either a task is about to hand it over, or the trail already says that no task
                # did.
                for opened in nics.unclaimed() if nics.node in nodes else []:
                    for vm in vms:
                        if _take_one(opened, left[vm.process]):
                            break
        self.unrecorded = [
            (holder, device)
            for holder in look.qemus()
            for device in left[holder.process]
        ]

    def holds(self, grant: Grant) -> bool:
        """Tell whether the VM's qemu holds the devices of a grant."""
        return grant.event in self._held

    def qemu_of(self, grant: Grant) -> Holder | None:
        """Return the VM's qemu."""
        return next(iter(self._vms.get(grant.uuid, [])), None)

    def _match(self, grant: Grant, left: dict[Process, list[Device]]) -> None:
        """Remove a grant's devices from those that its VM holds. A second qemu may have the same UUID."""
        for vm in self._vms.get(grant.uuid, []):
            rest = list(left[vm.process])
            held = _take(grant, rest, self._look)
            if held or len(self._vms[grant.uuid]) == 1:
                left[vm.process] = rest
            if held:
                self._held.add(grant.event)
                return


def _take(grant: Grant, devices: list[Device], look: Look) -> bool:
    """Remove the devices of a grant from the list. Tell whether all of them were there."""
    if grant.exact:
        # Go on after a missing device, so that every device is removed.
        missing = [each for each in grant.devices if not _take_one(each, devices)]
        return bool(grant.devices) and not missing
    # In libvirt's records only the MAC identifies the interface behind a tap, and one record is for
    # all queues.
    macs = (grant.mac, guest_side_mac(grant.mac))
    mine = [
        device
        for device in devices
        if device.dev is not None and look.links.get(device.dev) in macs
    ]
    # A vdpa device has no link with the MAC.
    nodes = {granted.rdev for granted in grant.devices if granted.is_vdpa}
    mine += [device for device in devices if device.is_vdpa and device.rdev in nodes]
    if any(granted.is_vhost for granted in grant.devices):
        vhosts = [device for device in devices if device.is_vhost]
        mine += vhosts[: len(mine)]
    for device in mine:
        devices.remove(device)
    return bool(mine)


def _take_one(granted: Device, devices: list[Device]) -> bool:
    for device in devices:
        # Compare the device numbers, because nodes with different paths can open the same device.
        node = device.rdev == granted.rdev
        same = granted.path is None or (node and device.dev in (None, granted.dev))
        # A hidden device has no descriptor.
        if same and (device.fd is None or granted.fd in (None, device.fd)):
            devices.remove(device)
            return True
    return False


def _stale(grant: Grant, holder: Holder | None, now: float) -> Finding:
    if holder is None:
        found = (
            "no qemu of that VM runs. It ended and nobody recorded that. Run vm_net_attach or vm_net_detach for the "
            "VM, which writes the missing records"
        )
    else:
        found = (
            f"its qemu (pid {holder.process.pid}) does not hold them. They were closed and nobody recorded that. Find "
            "out who uses its monitor, and then detach the NIC with vm_net_detach"
        )
    devices = sorted(
        {each.dev or each.path or f"descriptor {each.fd}" for each in grant.devices}
    )
    return Finding(
        code="stale_grant",
        severity="medium",
        message=f"The trail says that VM {grant.vm} holds {', '.join(devices) or 'the devices'} of {grant.mac} since"
        f" {iso(grant.since)}, but {found}.",
        time=now,
        events=[grant.event],
        node=grant.node,
        vm=grant.vm,
        uuid=grant.uuid,
        mac=grant.mac,
        dev=next((device.dev for device in grant.devices if device.dev), None),
        path=next((device.path for device in grant.devices), None),
        pid=holder.process.pid if holder else None,
        auid=grant.auid,
    )


def _add_unrecorded(
    findings: Findings, seen: t.Sequence[_Sight], begin: float, now: float
) -> None:
    first, last = seen
    earlier = {(holder.process, device.fd) for holder, device in first.unrecorded}
    for holder, device in last.unrecorded:
        if (holder.process, device.fd) not in earlier:
            continue
        what = f"{device.path} ({device.dev})" if device.dev else device.path
        older = holder.started < begin
        advice = (
            f"It has been running since {iso(holder.started)}, and the logs begin at {iso(begin)}, so the record may "
            "have been in a log that was removed"
            if older
            else "Find out who started or changed this VM"
        )
        findings.add(
            Finding(
                code="unrecorded_fd",
                severity="medium" if older else "high",
                message=f"VM {holder.name or 'without a name'} (qemu, pid {holder.process.pid}) holds {what}"
                f" {holdings.where(device.fd)}, and no record says who gave it. {advice}.",
                time=now,
                vm=holder.name,
                uuid=holder.uuid,
                dev=device.dev,
                path=device.path,
                pid=holder.process.pid,
                fd=device.fd,
                exe=holder.exe,
            )
        )
