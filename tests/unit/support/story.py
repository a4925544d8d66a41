# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes records from a few words, with times and serial numbers that grow like the kernel's."""

from __future__ import annotations

import typing as t

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.kernel import (
    KernelOpen,
    Kind,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.items import (
    Boot,
    Item,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import Logged
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID

_ORIGIN = Origin("/usr/bin/python3", None, None)


class Story:
    """Grows by one record with each call. An event's id is ``<time>.000:<serial>``.

    With ``libvirt`` the records have libvirt's form, without ``dev`` and ``fds``. Later records have ``ticket``.
    """

    def __init__(
        self,
        name: str = "web01",
        uuid: str = UUID,
        libvirt: bool = False,
        node: str | None = None,
    ) -> None:
        self.items: list[Item] = []
        self.time, self.serial = 1000, 100
        self.libvirt, self.node = libvirt, node
        self.ticket: str | None = None
        self.auid = 1000
        self._says = Messages(Vm(name, uuid, "kvm"), _ORIGIN)

    def vm(self, name: str, uuid: str) -> Story:
        """Continue with another VM."""
        self._says = Messages(Vm(name, uuid, "kvm"), _ORIGIN)
        return self

    def machine_id(self) -> Story:
        return self._say(self._says.machine_id(0, 0))

    def open(
        self, mac: str = MAC, path: str = "/dev/net/tun", ok: bool = True, pid: int = 50
    ) -> Story:
        device = Device(path, "0A:C8", f"vt{mac[-2:]}", 0)
        return self._say(self._says.net_open(mac, device, ok), pid)

    def close(
        self, mac: str = MAC, path: str = "/dev/net/tun", fd: int | None = None
    ) -> Story:
        device = Device(path, "0A:C8", f"vt{mac[-2:]}", 0)
        return self._say(self._says.net_close(mac, device, fd))

    def start(
        self,
        mac: str = MAC,
        fds: t.Sequence[int] = (7,),
        ok: bool = True,
        network: Network | None = None,
    ) -> Story:
        return self._hand_over("start", mac, fds, ok, network)

    def attach(
        self,
        mac: str = MAC,
        fds: t.Sequence[int] = (7,),
        ok: bool = True,
        network: Network | None = None,
    ) -> Story:
        return self._hand_over("attach", mac, fds, ok, network)

    def prepare(self, network: Network, mac: str = MAC, ok: bool = True) -> Story:
        return self._say(self._says.net_prepare(mac, f"vt{mac[-2:]}", network, ok))

    def update(
        self, before: Network, after: Network, mac: str = MAC, ok: bool = True
    ) -> Story:
        dev = f"vt{mac[-2:]}"
        for record in self._says.net_updates(mac, dev, before, after, ok):
            self._say(record)
        return self

    def for_ticket(self, ticket: str | None) -> Story:
        self.ticket = ticket
        return self

    def detach(self, mac: str = MAC, ok: bool = True) -> Story:
        return self._say(self._says.net_detach(mac, ok))

    def booted(self, ok: bool = True, pid: int = 4711) -> Story:
        return self._say(self._says.control("start", "booted", pid, ok))

    def stop(self, ok: bool = True) -> Story:
        return self._say(self._says.control("stop", "destroyed", 4711, ok))

    def other(self, **fields: str | None) -> Story:
        """Add any VIRT_RESOURCE record of the VM."""
        base = self._says.net_detach(MAC, True).fields
        kept = {key: base[key] for key in ("virt", "vm", "uuid", "exe", "res")}
        return self._say(Record("VIRT_RESOURCE", {**kept, **fields}))

    def host_boots(self) -> Story:
        self.serial = 1
        return self._add(Boot(self._event(), float(self.time), self.node))

    def container_boots(self) -> Story:
        """Let the systemd of a container write its record of a boot on a quiet host."""
        self.later(120)
        return self._add(Boot(self._event(), float(self.time), self.node))

    def forged(self, mac: str = MAC) -> Story:
        """Let a user other than root write a record of an attach."""
        self.attach(mac)
        t.cast(Logged, self.items[-1]).uid = 1000
        return self

    def reboot_unseen(self) -> Story:
        """Let the kernel's count start again without a record that says why."""
        self.serial = 1
        return self.later(30)

    def kernel(
        self,
        path: str | None = "/dev/net/tun",
        pid: int = 50,
        fd: int | None = 9,
        exe: str = "/usr/bin/python3",
        kind: Kind = "tap",
    ) -> Story:
        """Add the kernel's own record of an open, or of a TUNSETIFF if ``path`` is missing."""
        event = self._event()
        return self._add(
            KernelOpen(
                event=event,
                time=float(self.time),
                node=self.node,
                kind=kind,
                path=path,
                rdev="0A:C8",
                fd=fd if path else None,
                pid=pid,
                auid=1000,
                ses=3,
                exe=exe,
                tunsetiff=path is None,
            )
        )

    def later(self, seconds: int) -> Story:
        self.time += seconds
        return self

    def _hand_over(
        self,
        reason: str,
        mac: str,
        fds: t.Sequence[int],
        ok: bool,
        network: Network | None,
    ) -> Story:
        dev = f"vt{mac[-2:]}" if network is not None else None
        fds = fds if ok else []
        return self._say(self._says.net_grant(reason, mac, fds, ok, dev, network))

    def _event(self) -> str:
        self.serial += 1
        return f"{self.time}.000:{self.serial}"

    def _say(self, record: Record, pid: int = 50) -> Story:
        if self.libvirt:
            fields = {
                key: value
                for key, value in record.fields.items()
                if key not in ("dev", "fds", "fd")
            }
            record = Record(record.type, fields)
        record = record.of_task(self.ticket)
        event, time = self._event(), float(self.time)
        return self._add(
            Logged(event, time, record, self.node, pid, 0, self.auid, 3, "root")
        )

    def _add(self, item: Item) -> Story:
        self.items.append(item)
        return self
