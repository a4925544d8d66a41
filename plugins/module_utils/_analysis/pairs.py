# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recognises pairs of libvirt's records that mean something else than each record by itself. Pure.

Sources: libvirt's ``qemuInterfaceOpenVhostNet()``, which writes a failed open and at once a successful one for
a vhost-net that it could not open; and ``qemuDomainChangeNetBridge()``, which writes a detach and an attach
when it moves a NIC to another bridge while the VM runs, although it closes and opens no device.
"""

from __future__ import annotations

from .._device import Device
from .._log.parse import Logged
from .grants import Grant
from .witness import kind_of

# libvirt writes both records of a pair within this time.
_AT_ONCE_SECONDS = 2.0


class Pairs:
    """Keeps the first record of a pair as long as the second one may follow. One object serves one VM."""

    def __init__(self) -> None:
        self._detached: tuple[Logged, Grant] | None = None
        self._failed: tuple[Logged, str] | None = None

    def is_waiting(self) -> bool:
        """Tell whether a first record waits."""
        return self._detached is not None or self._failed is not None

    def forget(self) -> None:
        """The VM has ended."""
        self._detached = self._failed = None

    def failed_open(self, logged: Logged, mac: str, path: str) -> None:
        """Take an open that failed. A record of this collection names the interface, and one of libvirt does not."""
        libvirts = "dev" not in logged.record.fields and kind_of(path) == "vhost"
        self._failed = (logged, mac) if libvirts else None

    def is_of_failed(self, logged: Logged, mac: str, path: str) -> bool:
        """Tell whether a successful open is the open that failed just before."""
        failed, self._failed = self._failed, None
        return (
            failed is not None
            and failed[1] == mac
            and kind_of(path) == "vhost"
            and _at_once(failed[0], logged)
        )

    def detached(self, logged: Logged, grant: Grant | None) -> None:
        """Take a detach. A detach of this collection closes the devices, and one of libvirt may not."""
        libvirts = grant is not None and not grant.exact
        self._detached = (logged, grant) if grant is not None and libvirts else None

    def kept(self, logged: Logged, mac: str, reason: str) -> list[Device]:
        """Return the devices that an attach without an open takes over from the detach just before."""
        detached, self._detached = self._detached, None
        if detached is None or reason != "attach" or detached[1].mac != mac:
            return []
        return detached[1].devices if _at_once(detached[0], logged) else []


def _at_once(first: Logged, second: Logged) -> bool:
    return first.pid == second.pid and abs(second.time - first.time) <= _AT_ONCE_SECONDS
