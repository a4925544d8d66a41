# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Works out the devices of one interface from its records. Pure. No other code does this.

Both the reader of the trail and the repair of a task that was cut off use it.
"""

from __future__ import annotations

import dataclasses

from .._device import Device
from .._log.parse import Logged
from .grants import Opened, claim
from .sessions import number


@dataclasses.dataclass
class NicDevices:
    """What is on record of one interface, record by record. ``waiting`` are opens that no hand-over has claimed.

    ``held`` are the devices that the VM got, or ``None`` if it got none or gave them back. ``exact`` tells
    whether the record of the hand-over has their descriptors. ``released`` are devices that the VM no longer
    has and that have no close record yet. ``settled`` tells that a failed hand-over or a detach is on record
    since the last open.
    """

    waiting: list[Opened] = dataclasses.field(default_factory=list)
    held: list[Device] | None = None
    exact: bool = False
    released: list[Device] = dataclasses.field(default_factory=list)
    settled: bool = False

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is held and no open waits for its hand-over."""
        return self.held is None and not self.waiting

    @property
    def outstanding(self) -> list[Device]:
        """Return the devices that were opened and not closed."""
        waiting = [opened.device for opened in self.waiting]
        return [*self.released, *(self.held or ()), *waiting]

    def take(self, logged: Logged) -> None:
        """Take a record of this interface that this collection wrote."""
        fields = logged.record.fields
        reason, success = fields.get("reason"), fields.get("res") == "success"
        if reason == "open" and success:
            self.open(logged)
        elif reason == "close" and success:
            self.close(fields.get("path"), number(fields.get("fd")))
        elif reason in ("start", "attach") and success:
            left = self.hand_over(fds_of_record(logged))
            self.released += [opened.device for opened in left]
        elif reason in ("start", "attach"):
            self.settled = True
        elif reason == "detach" and success:
            self.detach()

    def open(self, logged: Logged) -> None:
        """Take a successful open."""
        fields = logged.record.fields
        path, rdev, dev = (
            fields.get("path") or "?",
            fields.get("rdev"),
            fields.get("dev"),
        )
        self.waiting.append(Opened(logged, Device(path, rdev, dev, None, logged.event)))
        self.settled = False

    def close(self, path: str | None, fd: int | None) -> bool:
        """Take a close. Tell whether it closed the last device that the VM held."""
        held = self.held or []
        # If the logs no longer have the open, only the number of the descriptor is known.
        exact = [
            each
            for each in held
            if fd is not None and each.fd == fd and each.path in (None, path)
        ]
        if not exact and (_remove(self.released, path, fd) or self._drop_waiting(path)):
            return False
        # If a hand-over was taken back, its close record has the descriptor of the task, and not
        # that of qemu.
        same = exact or [each for each in held if each.path == path][:1]
        if not same:
            return False
        self.held = [each for each in held if each not in same]
        return self.exact and not self.held

    def _drop_waiting(self, path: str | None) -> bool:
        for opened in self.waiting:
            if opened.device.path == path:
                self.waiting.remove(opened)
                return True
        return False

    def hand_over(self, fds: list[int | None]) -> list[Opened]:
        """Take a successful hand-over, with qemu's descriptors. Return the opens that it did not claim."""
        # Devices whose opens come before the records that are read here are handed over, too.
        known = self.released[: max(0, len(fds) - len(self.waiting))]
        devices, left = claim(self.waiting, fds)
        lost = [each for each in devices if each.path is None]
        for device, each in zip(known, lost):
            devices[devices.index(each)] = dataclasses.replace(device, fd=each.fd)
            self.released.remove(device)
        self.held, self.exact = devices, bool(fds)
        self.waiting, self.settled = [], False
        return left

    def detach(self) -> None:
        """Take a successful detach. The close records of the devices still follow."""
        self.released += self.held or ()
        self.held, self.settled = None, True


def fds_of_record(logged: Logged) -> list[int | None]:
    """Return the descriptors that a hand-over names, in the order of the opens. A hand-over of libvirt names none."""
    fds = logged.record.fields.get("fds") or ""
    return [number(fd) for fd in fds.split(",") if fd]


def _remove(devices: list[Device], path: str | None, fd: int | None) -> bool:
    """Remove the device that a close record names, or else a device with its path. Tell whether there was one."""
    same = [each for each in devices if each.path == path]
    exact = [each for each in same if each.fd == fd]
    for each in (exact or same)[:1]:
        devices.remove(each)
    return bool(same)
