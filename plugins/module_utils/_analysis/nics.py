# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows one VM's devices from their open through the hand-over to the close. Pure."""

from __future__ import annotations

import re
import typing as t

from .._device import Device
from .._log.parse import Logged
from .._time import iso
from .complaints import Complaints
from .devices import NicDevices, fds_of_record
from .findings import Finding, Findings
from .grants import Grant, Opened, network_of, whole_network
from .history import History
from .pairs import Pairs
from .prepared import Prepared
from .sessions import number

# How many seconds may pass between an open and its hand-over. A VM's start has time-outs of its
# own.
_IN_FLIGHT_SECONDS = 60.0
# After this many seconds nobody waits for the hand-over any more.
_GIVEN_UP_SECONDS = 3600.0
_HAND_OVERS = ("start", "attach", "update")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)


class Ending(t.Protocol):
    """The end of a grant: a record, or a boot of the host."""

    @property
    def time(self) -> float: ...

    @property
    def event(self) -> str: ...


class Nics:
    """What is on record of one VM's interfaces, record by record."""

    def __init__(
        self,
        node: str | None,
        uuid: str,
        findings: Findings,
        history: History | None = None,
    ) -> None:
        self.node, self.uuid = node, uuid
        self._history = history
        self._pairs = Pairs()
        self.grants: dict[str, Grant] = {}
        self._complain = Complaints(node, uuid, findings)
        self._prepared = Prepared(self._complain)
        self._devices: dict[str, NicDevices] = {}
        self._failed_detach: dict[str, Finding] = {}
        self._failed_starts: list[tuple[Logged, str]] = []
        self._run = 0

    def is_empty(self) -> bool:
        """Tell whether nothing is held or awaited."""
        return not (
            self.grants
            or any(nic.waiting for nic in self._devices.values())
            or self._failed_starts
            or self._failed_detach
            or self._pairs.is_waiting()
            or self._prepared.is_waiting()
        )

    def unclaimed(self) -> list[Device]:
        """Return the devices that are open and not handed over."""
        return [each.device for _mac, each in self._waiting()]

    def take(self, logged: Logged) -> None:
        """Take a VIRT_RESOURCE record of a NIC."""
        fields = logged.record.fields
        reason, success = fields.get("reason"), fields.get("res") == "success"
        if reason in ("open", "prepare", "close"):
            net = _mac(fields.get("net"))
            if net and reason == "open":
                self._open(logged, net, success)
            elif net and reason == "prepare":
                self._prepared.take(logged, net, success)
            elif net and success:
                self._close(logged, net)
            return
        old, new = _mac(fields.get("old-net")), _mac(fields.get("new-net"))
        if reason == "detach" and old:
            self._detach(logged, old, success)
        elif reason in _HAND_OVERS and success and old and new and old != new:
            self._replace(logged, old, new, reason)
        elif reason in ("start", "attach") and new:
            self._hand_over(logged, new, reason, success)
        elif reason == "update" and success:
            self._update(logged, new)

    def _replace(self, logged: Logged, old: str, new: str, reason: str) -> None:
        """Take a change of a NIC's MAC. The NIC keeps its devices unless others were opened."""
        grant = self._end(old, logged)
        self._hand_over(logged, new, reason, True)
        replaced = self.grants[new]
        replaced.devices = replaced.devices or (grant.devices if grant else [])
        self._of(new).held = replaced.devices

    def _update(self, logged: Logged, new: str | None) -> None:
        """Take an update, which changes the NIC's network in place."""
        fields = logged.record.fields
        mac = _mac(fields.get("net"))
        grant = self.grants.get(mac or new or "")
        changed = network_of(fields, "new-")
        if grant is None or not changed:
            return
        if grant.network is None:
            # The record of the hand-over did not say it.
            grant.network = whole_network(network_of(fields, "old-"))
        moved = grant.moved(logged, changed)
        if moved.move != grant.move:
            # Only the grant ends. The NIC keeps its devices.
            self._end_grant(grant.mac, logged)
        self.grants[grant.mac] = moved

    def begin(self, logged: Logged) -> None:
        """A new run of the VM begins. It has nothing that an earlier run had."""
        self._abandon("the VM was started again", logged)

    def started(self, logged: Logged, success: bool) -> None:
        """Take VIRT_CONTROL op=start, which follows the records of the NICs."""
        if success:
            self._report_failed_starts()
            self._run += 1
            # A hand-over of the next run took the opens of this run.
            for mac, grant in list(self.grants.items()):
                if grant.run != self._run:
                    self._end(mac, logged)
            self._drop_opened("the VM was started without it")
            return
        events = [failed.event for failed, _mac in self._failed_starts]
        macs = sorted({mac for _failed, mac in self._failed_starts} | set(self.grants))
        self._failed_starts = []
        # libvirt writes success for each NIC, and failed only for the start as a whole.
        self.grants = {}
        self._devices = {}
        self._complain.failed_start(logged, events, macs)

    def stopped(self, how: str, end: Ending) -> None:
        """Take the end of the VM. It holds nothing any more."""
        self._abandon(how, end)

    def finish(self, now: float) -> None:
        """Judge what is still open at the end of the trail."""
        self._report_failed_starts()
        for mac, opened in self._waiting():
            if not 0 <= now - opened.logged.time < _IN_FLIGHT_SECONDS:
                self._complain.unclaimed(mac, opened, "no further record follows")

    def _open(self, logged: Logged, mac: str, success: bool) -> None:
        fields = logged.record.fields
        path = fields.get("path") or "?"
        if success and self._pairs.is_of_failed(logged, mac, path):
            return
        if success:
            nic = self._of(mac)
            waiting = nic.waiting
            while waiting and logged.time - waiting[0].logged.time > _GIVEN_UP_SECONDS:
                self._complain.unclaimed(mac, waiting.pop(0), "no hand-over followed")
            nic.open(logged)
            return
        self._complain.failed_open(logged, mac, path)
        self._pairs.failed_open(logged, mac, path)

    def _close(self, logged: Logged, mac: str) -> None:
        fields, nic = logged.record.fields, self._of(mac)
        last = nic.close(fields.get("path"), number(fields.get("fd")))
        grant = self.grants.get(mac)
        if grant is not None:
            grant.devices = nic.held or []
        if last:
            # The record of the detach got lost.
            self._end(mac, logged)
            self._settle(mac, "closed", logged)
        elif not nic.waiting:
            self._prepared.closed(logged, mac)
        self._forget_empty(mac)

    def _detach(self, logged: Logged, mac: str, success: bool) -> None:
        if success:
            grant = self._end(mac, logged)
            self._pairs.detached(logged, grant)
            self._settle(mac, "detached", logged)
            return
        self._failed_detach[mac] = self._complain.failed_detach(logged, mac)

    def _hand_over(self, logged: Logged, mac: str, reason: str, success: bool) -> None:
        fields = logged.record.fields
        nic = self._of(mac)
        if not success:
            for opened in nic.waiting:
                opened.failed = True
            self._forget_empty(mac)
            if reason == "start":
                self._failed_starts.append((logged, mac))
            else:
                self._complain.not_attached(logged, mac)
            return
        kept = self._pairs.kept(logged, mac, reason)
        fds = fds_of_record(logged)
        opens = any(not opened.failed for opened in nic.waiting)
        # The close records of the earlier devices got lost.
        nic.released = []
        for opened in nic.hand_over(fds):
            self._complain.unclaimed(
                mac, opened, "a later open was handed over instead"
            )
        if not opens and not fds:
            nic.held = kept
        self._settle(mac, "handed over anew", logged)
        self._end_grant(mac, logged)
        prepared = self._prepared.handed_over(logged, mac)
        self.grants[mac] = Grant(
            node=self.node,
            vm=fields.get("vm"),
            uuid=self.uuid,
            mac=mac,
            since=logged.time,
            auid=logged.auid,
            ses=logged.ses,
            exe=fields.get("exe"),
            event=logged.event,
            devices=nic.held or [],
            exact=nic.exact,
            run=self._run + (reason == "start"),
            network=whole_network(prepared, network_of(fields)),
            ticket=fields.get("ticket"),
            ifname=fields.get("dev"),
        )

    def _end(self, mac: str, end: Ending) -> Grant | None:
        """End the grant of a NIC, if there is one, with the devices that it held. Return it."""
        if mac in self._devices:
            self._devices[mac].held = None
            self._forget_empty(mac)
        return self._end_grant(mac, end)

    def _end_grant(self, mac: str, end: Ending) -> Grant | None:
        grant = self.grants.pop(mac, None)
        if grant is not None and self._history is not None:
            self._history.end(grant, end.time, end.event)
        return grant

    def _abandon(self, how: str, end: Ending) -> None:
        self._report_failed_starts()
        for mac in list(self.grants):
            self._end(mac, end)
        self._pairs.forget()
        self._prepared.ended(how)
        self._drop_opened(how)
        for finding in self._failed_detach.values():
            finding.settle(f"It is over: {how}.")
        self._failed_detach = {}

    def _drop_opened(self, how: str) -> None:
        for mac, opened in self._waiting():
            self._complain.unclaimed(mac, opened, how)
        self._devices = {
            mac: NicDevices(held=grant.devices, exact=grant.exact)
            for mac, grant in self.grants.items()
        }

    def _waiting(self) -> list[tuple[str, Opened]]:
        """Return the opens that no hand-over has claimed."""
        return [
            (mac, opened)
            for mac, nic in self._devices.items()
            for opened in nic.waiting
        ]

    def _of(self, mac: str) -> NicDevices:
        return self._devices.setdefault(mac, NicDevices())

    def _forget_empty(self, mac: str) -> None:
        """Forget an interface without open devices, so that what has ended does not fill the memory."""
        nic = self._devices.get(mac)
        if nic is not None and nic.is_empty:
            del self._devices[mac]

    def _report_failed_starts(self) -> None:
        for logged, mac in self._failed_starts:
            self._complain.not_started(logged, mac)
        self._failed_starts = []

    def _settle(self, mac: str, how: str, logged: Logged) -> None:
        finding = self._failed_detach.pop(mac, None)
        if finding is not None:
            finding.settle(f"It was {how} at {iso(logged.time)} ({logged.event}).")


def _mac(text: str | None) -> str | None:
    mac = text.lower() if text else ""
    return mac if _MAC.fullmatch(mac) else None
