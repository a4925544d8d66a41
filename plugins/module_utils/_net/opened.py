# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The owner of whatever a task opens: each open and close on record, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._device import VHOST_NET_PATH, Device
from .._errors import (
    AuditError,
    DeviceError,
    LinkError,
    StuckError,
    VirtauditError,
)
from . import device, holdings, link, sysfs
from .backends import backend_of
from .backends.base import Backend
from .device import Attempt
from .holdings import Holding
from .interface import Interface
from .nic_link import NicLink

# Called after each open with the interface and all that is open for it.
Noted = t.Callable[[Interface, list[Device]], None]


class OpenedDevices:
    """Opens the devices of interfaces and owns them until they are handed over.

    ``note`` is called after each open, so that a crash leaves nothing that nobody knows of.

    Use it as a context manager: leaving it without :meth:`handed_over` closes every device,
    records each close, and removes the macvtaps that were made for them. What somebody else holds by then
    is not closed: it raises :class:`StuckError` beside the error that it was left with, and ``missed`` of the
    auditor has the next task look at it again.
    """

    def __init__(self, auditor: Auditor, messages: Messages, note: Noted) -> None:
        self._auditor = auditor
        self._messages = messages
        self._note = note
        self._devices: list[tuple[str, Device]] = []
        self._links: list[str] = []
        self._prepared: list[tuple[Backend, NicLink]] = []
        # The index of each interface's tap or macvtap, by its MAC.
        self._made: dict[str, tuple[str, int | None]] = {}

    def __enter__(self) -> OpenedDevices:
        return self

    def __exit__(
        self, _kind: object, failure: BaseException | None, _trace: object
    ) -> None:
        for _mac, opened in self._devices:
            os.close(opened.fileno())
        stuck = {
            mac: holding
            for mac, (ifname, ifindex) in self._made.items()
            if (holding := holdings.wait_free(ifname, ifindex)) is not None
        }
        for mac, opened in self._devices:
            if mac not in stuck:
                close = self._messages.net_close(mac, opened, opened.fd)
                self._auditor.write_anyway(close)
        kept = {self._made[mac][0] for mac in stuck}
        for name in self._links:
            with contextlib.suppress(LinkError):
                if name not in kept:
                    link.remove(name)
        for backend, each in self._prepared:
            with contextlib.suppress(LinkError):
                if each.mac not in stuck:
                    backend.remove(each)
        self._forget()
        if stuck:
            self._auditor.missed = True
            raise StuckError(_words(stuck, failure)) from failure

    def open(self, interface: Interface) -> list[Device]:
        """Open every device of one interface: its queues first, then one vhost-net per queue.

        Raises :class:`DeviceError`, :class:`LinkError`, or :class:`AuditError` when an open
        could not be recorded.
        """
        backend = backend_of(interface.type)
        queues = backend.open(interface, self)
        self._prepare(backend, interface)
        return queues + self._open_vhost(interface)

    def handed_over(self) -> None:
        """Close our copies of the fds: qemu holds them now, so this gives nothing up."""
        for _mac, opened in self._devices:
            os.close(opened.fileno())
        self._forget()

    def _forget(self) -> None:
        self._devices.clear()
        self._links.clear()
        self._made.clear()
        self._prepared.clear()

    def made_link(self, ifname: str) -> None:
        """Take a link that does not go with its last descriptor, to remove it when it is not handed over."""
        self._links.append(ifname)

    def _prepare(self, backend: Backend, interface: Interface) -> None:
        """Put the link on its network before a frame can pass, on record where the network keeps frames apart.

        Raises :class:`LinkError` or :class:`AuditError`.
        """
        mac, name, network = interface.mac, interface.ifname, interface.network
        vm = self._messages.vm.uuid
        link = NicLink(name, sysfs.ifindex(name), mac, network, vm)
        self._prepared.append((backend, link))
        try:
            backend.prepare(link)
        except LinkError:
            if network.is_prepared:
                record = self._messages.net_prepare(mac, name, network, success=False)
                self._auditor.write_anyway(record)
            raise
        if network.is_prepared:
            self._auditor.write(
                self._messages.net_prepare(mac, name, network, success=True)
            )

    def _open_vhost(self, interface: Interface) -> list[Device]:
        if interface.vhost == "off" or not interface.is_virtio:
            return []
        devices: list[Device] = []
        for _number in range(interface.queues):
            try:
                devices.append(self.open_node(interface, VHOST_NET_PATH, None))
            except DeviceError:
                if interface.vhost == "required" or devices:
                    raise
                # auto: the failed open is on record, and the NIC works without vhost.
                break
        return devices

    def open_node(
        self, interface: Interface, path: str, setup: t.Callable[[Device], None] | None
    ) -> Device:
        """Open a node, make it what it should be, and put the open(2) on record."""
        try:
            opened = device.open_node(path)
        except OSError as exc:
            self._record(
                interface,
                Attempt(path, device.rdev_of(path), interface.ifname),
                success=False,
            )
            raise DeviceError(
                f"{path} could not be opened for the interface {interface.mac}: {device.explain(exc)}"
            ) from exc
        self._devices.append((interface.mac, opened))
        failure: Exception | None = None
        if setup is None:
            # Nothing maps a vhost-net fd to an interface, so the record does.
            opened.dev = interface.ifname
        else:
            try:
                setup(opened)
                self._made[interface.mac] = (
                    interface.ifname,
                    sysfs.ifindex(interface.ifname),
                )
            except (DeviceError, OSError) as exc:
                failure = exc
        try:
            opened.event = self._record(interface, opened, success=True)
        except AuditError:
            # It may have landed all the same: the next task reads the log, and records the close then.
            self._devices.pop()
            os.close(opened.fileno())
            raise
        self._note(
            interface, [each for mac, each in self._devices if mac == interface.mac]
        )
        if failure is not None:
            raise failure
        return opened

    def _record(
        self, interface: Interface, opened: Device | Attempt, success: bool
    ) -> str | None:
        return self._auditor.write(
            self._messages.net_open(interface.mac, opened, success)
        )


def _words(stuck: t.Mapping[str, Holding], failure: BaseException | None) -> str:
    before = f"{failure}. " if isinstance(failure, VirtauditError) else ""
    held = "; ".join(f"{mac}: {holding}" for mac, holding in stuck.items())
    return (
        f"{before}What was opened could not be taken back, and no close of it is on record: {held}. End that process"
        " and run the task again, which goes on from here"
    )
