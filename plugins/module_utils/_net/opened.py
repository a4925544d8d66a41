# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owns everything that a task opens, records each open and close, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._audit.sent import Sent
from .._device import VHOST_NET_PATH, Device
from .._errors import (
    DeviceError,
    LinkError,
    StuckError,
    VirtauditError,
)
from . import device, link, persistent, sysfs
from .backends import backend_of
from .backends.base import Backend
from .device import Attempt
from .holdings import Holding
from .interface import Interface
from .nic_link import NicLink

# A function that is called when all opens are on record. It gets the open devices of each interface, by its MAC.
Noted = t.Callable[[t.Mapping[str, list[Device]]], None]


class OpenedDevices:
    """Opens the devices of interfaces and owns them until they are handed over.

    It calls ``note`` when all devices are open and on record, so that the note knows them if the task crashes.
    ``tried`` are the interfaces that it has begun to open.

    Use it as a context manager. If the block ends without :meth:`handed_over`, it closes every device, records each
    close, and removes the links that were made for them. If another process holds a device by then, it records no
    close for that device. It raises :class:`StuckError`, whose text also has the error that ended the block, and sets
    ``missed`` of the auditor, so that the next task looks at the device again.
    """

    def __init__(self, auditor: Auditor, messages: Messages, note: Noted) -> None:
        self._auditor = auditor
        self._messages = messages
        self._note = note
        self.tried: list[Interface] = []
        self._devices: list[tuple[str, Device]] = []
        self._sent: list[tuple[Device, Sent]] = []
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
            if (holding := persistent.wait_gone(ifname, ifindex, mac, self._auditor))
            is not None
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
        if stuck:
            self._auditor.missed = True
            raise StuckError(_words(stuck, failure)) from failure

    def open(self, interfaces: t.Sequence[Interface]) -> dict[str, list[Device]]:
        """Open every device of interfaces, and put their links on their networks. Return the devices by MAC.

        The queues of each interface come first, and then one vhost-net for each queue. Raises :class:`DeviceError`,
        :class:`LinkError`, or :class:`AuditError` if an open could not be recorded.
        """
        devices: dict[str, list[Device]] = {}
        try:
            for each in interfaces:
                self.tried.append(each)
                queues = backend_of(each.type).open(each, self)
                devices[each.mac] = queues + self._open_vhost(each)
        finally:
            self._confirm()
        self._note(devices)
        self._prepare(interfaces)
        self._auditor.confirm()
        return devices

    def handed_over(self, macs: t.Container[str]) -> None:
        """Close our copies of the fds of some interfaces. qemu holds the devices now, so this gives up no device."""
        for mac, opened in self._devices:
            if mac in macs:
                os.close(opened.fileno())
        names = [each.ifname for each in self.tried if each.mac in macs]
        self._devices = [each for each in self._devices if each[0] not in macs]
        self._links = [name for name in self._links if name not in names]
        self._prepared = [each for each in self._prepared if each[1].mac not in macs]
        self._made = {mac: made for mac, made in self._made.items() if mac not in macs}

    def made_link(self, ifname: str) -> None:
        """Take over a link that stays when its last descriptor is closed. Remove it if it is not handed over."""
        self._links.append(ifname)

    def _prepare(self, interfaces: t.Sequence[Interface]) -> None:
        """Put the links on their networks before a frame can pass, the links of one kind together.

        Record this for each network that keeps frames apart. Raises :class:`LinkError`.
        """
        vm = self._messages.vm.uuid
        kinds: dict[str, list[NicLink]] = {}
        for each in interfaces:
            index = self._made[each.mac][1]
            link = NicLink(each.ifname, index, each.mac, each.network, vm)
            kinds.setdefault(each.type, []).append(link)
        for kind, links in kinds.items():
            backend = backend_of(kind)
            self._prepared += [(backend, link) for link in links]
            for link, failure in zip(links, backend.prepare(links)):
                self._record_prepare(link, failure is None)
                if failure is not None:
                    raise failure

    def _record_prepare(self, link: NicLink, success: bool) -> None:
        if not link.network.is_prepared:
            return
        record = self._messages.net_prepare(
            link.mac, link.ifname, link.network, success
        )
        if success:
            self._auditor.send(record)
        else:
            self._auditor.write_anyway(record)

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
                # With auto, the failed open is on record, and the task goes on without vhost-net.
                break
        return devices

    def open_node(
        self, interface: Interface, path: str, setup: t.Callable[[Device], None] | None
    ) -> Device:
        """Open a node, set it up, and send the record of the open(2)."""
        try:
            opened = device.open_node(path)
        except OSError as exc:
            attempt = Attempt(path, device.rdev_of(path), interface.ifname)
            self._send(interface, attempt, success=False)
            raise DeviceError(
                f"{path} could not be opened for the interface {interface.mac}: {device.explain(exc)}"
            ) from exc
        self._devices.append((interface.mac, opened))
        failure: Exception | None = None
        if setup is None:
            # Only the record tells which interface a vhost-net descriptor belongs to.
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
                self._keep_made(interface, opened)
        sent = self._send(interface, opened, success=True)
        self._sent.append((opened, sent))
        if failure is not None:
            raise failure
        return opened

    def _keep_made(self, interface: Interface, opened: Device) -> None:
        """Remember the link of a device that the task cannot use. Another process may have joined the link."""
        name = interface.ifname
        if interface.mac not in self._made and device.serves(opened, name):
            index = None
            with contextlib.suppress(OSError):
                index = sysfs.ifindex(name)
            self._made[interface.mac] = (name, index)

    def _send(
        self, interface: Interface, opened: Device | Attempt, success: bool
    ) -> Sent:
        return self._auditor.send(
            self._messages.net_open(interface.mac, opened, success)
        )

    def _confirm(self) -> None:
        """Require that each open is on record. Raises :class:`AuditError`."""
        try:
            self._auditor.confirm()
        finally:
            lost = [opened for opened, sent in self._sent if sent.lost]
            for opened, sent in self._sent:
                opened.event = sent.event
            self._sent.clear()
            # The log may still have the record. Then the next task reads the log, and records the close.
            for opened in lost:
                os.close(opened.fileno())
            self._devices = [each for each in self._devices if each[1] not in lost]


def _words(stuck: t.Mapping[str, Holding], failure: BaseException | None) -> str:
    before = f"{failure}. " if isinstance(failure, VirtauditError) else ""
    held = "; ".join(f"{mac}: {holding}" for mac, holding in stuck.items())
    return (
        f"{before}The task could not close everything that it had opened, and recorded no close for it: {held}. End "
        "that process and run the task again. It goes on from here"
    )
