# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds what only the answers of all hosts together show: a MAC address or a VM that is in two places."""

from __future__ import annotations

import hashlib
import typing as t

from .answer import Data

CODES = (
    "unclaimed_open",
    "failed_open",
    "failed_start",
    "failed_detach",
    "failed_prepare",
    "unrecorded_open",
    "unrecorded_fd",
    "stale_grant",
    "leaked_device",
    "moved_port",
    "missing_filter",
    "audit_lost",
    "untrusted_record",
    "unread_records",
    "duplicate_mac",
    "duplicate_vm",
)
# If these are equal, a finding is the same as one of the last report. The pid is not among them, because it changes.
_SAME = ("code", "node", "uuid", "mac", "dev", "path", "exe")


class Holder(t.NamedTuple):
    """Who holds a NIC."""

    host: str
    vm: str | None
    uuid: str
    since: str
    event: str

    @property
    def called(self) -> str:
        """The name of the VM, or its UUID if no record has the name."""
        return self.vm or self.uuid


class Fleet:
    """Collects who holds what, to find what two VMs hold. A NIC takes some hundred bytes."""

    def __init__(self) -> None:
        self._macs: dict[str, list[Holder]] = {}
        self._vms: dict[str, list[Holder]] = {}

    def add(self, mac: str, holder: Holder) -> None:
        """Take a grant."""
        self._macs.setdefault(mac, []).append(holder)
        self.add_vm(holder)

    def add_vm(self, holder: Holder) -> None:
        """Take a VM that runs on a host."""
        on = self._vms.setdefault(holder.uuid, [])
        if all(other.host != holder.host for other in on):
            on.append(holder)

    def findings(self) -> list[Data]:
        """Return a finding for each MAC address and each VM that is in two places."""
        found = []
        for mac, holders in self._macs.items():
            if len({(each.host, each.uuid) for each in holders}) > 1:
                found.append(_duplicate_mac(mac, holders))
        for holders in self._vms.values():
            if len(holders) > 1:
                found.append(_duplicate_vm(holders))
        return found


def _duplicate_mac(mac: str, holders: list[Holder]) -> Data:
    where = " and ".join(f"VM {each.called} on {each.host}" for each in holders)
    message = (
        f"{mac} is held by {where} at once. On one network each of them loses frames to the other."
        " Give one of them another MAC address, or stop the one that should not run. Ignore this finding if the"
        " inventory names one host twice, or if a VM is moving to another host now."
    )
    return _finding("duplicate_mac", message, holders, mac)


def _duplicate_vm(holders: list[Holder]) -> Data:
    where = " and ".join(each.host for each in holders)
    message = (
        f"The VM {holders[0].called} ({holders[0].uuid}) runs on {where} at once. Both may write to the same disk."
        " Stop one of them. Ignore this finding if the inventory names one host twice, or if the VM is moving now."
    )
    return _finding("duplicate_vm", message, holders, None)


def _finding(code: str, message: str, holders: list[Holder], mac: str | None) -> Data:
    newest = max(holders, key=lambda each: each.since)
    return {
        "host": newest.host,
        "hosts": sorted({each.host for each in holders}),
        "code": code,
        "severity": "high",
        "message": message,
        "time": newest.since,
        "events": [each.event for each in holders][:20],
        "node": None,
        "vm": newest.vm,
        "uuid": newest.uuid,
        "mac": mac,
        "dev": None,
        "path": None,
        "pid": None,
        "fd": None,
        "exe": None,
        "auid": None,
    }


def identity(finding: Data) -> str:
    """Return an id that is the same for the same finding in another report."""
    hosts = finding.get("hosts", [finding["host"]])
    same = "\0".join([*hosts, *(str(finding.get(name)) for name in _SAME)])
    return hashlib.sha256(same.encode("utf-8", "backslashreplace")).hexdigest()[:16]
