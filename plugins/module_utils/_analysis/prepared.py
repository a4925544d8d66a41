# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows the VLAN, filter and isolation that a task set on a NIC's link between its open and its hand-over. Pure."""

from __future__ import annotations

from .._log.parse import Logged
from .._time import iso
from .complaints import Complaints
from .findings import Finding
from .grants import network_of


class Prepared:
    """The prepare records of one VM's NICs, each until a record shows what followed it."""

    def __init__(self, complain: Complaints) -> None:
        self._complain = complain
        self._networks: dict[str, dict[str, str | None]] = {}
        self._failed: dict[str, Finding] = {}

    def is_waiting(self) -> bool:
        """Tell whether one of them still waits for such a record."""
        return bool(self._networks or self._failed)

    def take(self, logged: Logged, mac: str, success: bool) -> None:
        """Take a prepare record."""
        if not success:
            self._failed[mac] = self._complain.failed_prepare(logged, mac)
            return
        self._networks[mac] = network_of(logged.record.fields)
        self._settle(mac, f"It was prepared at {iso(logged.time)} ({logged.event}).")

    def handed_over(self, logged: Logged, mac: str) -> dict[str, str | None]:
        """Take a successful hand-over. Return the network that was prepared for it."""
        failed = self._failed.pop(mac, None)
        if failed is not None:
            failed.severity = "high"
            failed.outcome = (
                f"It was handed over all the same, at {iso(logged.time)} ({logged.event}). Find out who did that, and "
                "detach the NIC until its network is prepared."
            )
        return self._networks.pop(mac, {})

    def closed(self, logged: Logged, mac: str) -> None:
        """Take the closes of all devices of a NIC that was not handed over."""
        self._networks.pop(mac, None)
        failed = self._failed.get(mac)
        if failed is not None:
            failed.outcome = (
                f"Nothing was handed over: its devices were closed by {iso(logged.time)}"
                f" ({logged.event})."
            )

    def ended(self, how: str) -> None:
        """Take the end of the VM, or a new start."""
        self._networks = {}
        for mac in list(self._failed):
            self._settle(mac, f"It is over: {how}.")

    def _settle(self, mac: str, how: str) -> None:
        failed = self._failed.pop(mac, None)
        if failed is not None:
            failed.settle(how)
