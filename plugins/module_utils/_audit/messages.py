# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the records that this collection writes, with their fields in order.

If libvirt writes the same record, libvirt's fields come first and in libvirt's order
(``src/conf/domain_audit.c``). Our own fields follow them, before ``exe``.
"""

from __future__ import annotations

import typing as t

from .network import Fields, Network
from .origin import Origin
from .record import Record


class Vm(t.NamedTuple):
    """The VM that a record is about. ``virt`` is ``kvm``, or ``qemu`` under TCG."""

    name: str
    uuid: str
    virt: str


class DeviceLike(t.Protocol):
    """A network device by the names that records use: its node and the interface behind it."""

    @property
    def path(self) -> str | None: ...

    @property
    def rdev(self) -> str | None: ...

    @property
    def dev(self) -> str | None: ...


class Messages(t.NamedTuple):
    """Makes the records of one VM, which one origin sends."""

    vm: Vm
    origin: Origin

    def machine_id(self, uid: int, gid: int) -> Record:
        """Return VIRT_MACHINE_ID: the user and group that qemu runs as, as libvirt's DAC labels."""
        label = f"+{uid}:+{gid}"
        fields: Fields = {"virt": self.vm.virt, **self._identity()}
        fields.update({"vm-ctx": label, "img-ctx": label, "model": "dac"})
        return self._record("VIRT_MACHINE_ID", fields, True)

    def control(self, operation: str, reason: str, pid: int, success: bool) -> Record:
        """Return VIRT_CONTROL. ``operation`` is start or stop. ``pid`` is 0 if no qemu came up."""
        fields: Fields = {"virt": self.vm.virt, "op": operation, "reason": reason}
        fields.update({**self._identity(), "vm-pid": str(pid)})
        return self._record("VIRT_CONTROL", fields, success)

    def net_open(self, mac: str, device: DeviceLike, success: bool) -> Record:
        """Return reason=open: one open(2) of a network device."""
        return self._record("VIRT_RESOURCE", self._node("open", mac, device), success)

    def net_close(self, mac: str, device: DeviceLike, fd: int | None) -> Record:
        """Return reason=close: a device is given up. ``fd`` is its number in the process that held it."""
        return self._record(
            "VIRT_RESOURCE",
            {**self._node("close", mac, device), "fd": None if fd is None else str(fd)},
            True,
        )

    def net_prepare(
        self, mac: str, dev: str, network: Network, success: bool
    ) -> Record:
        """Return reason=prepare: VLAN, filter and flags of a port, set after the open and before the hand-over."""
        fields: Fields = {"net": mac, "dev": dev, **network.prepared()}
        return self._record(
            "VIRT_RESOURCE", {**self._net("prepare"), **fields}, success
        )

    def net_grant(
        self,
        reason: str,
        mac: str,
        fds: t.Sequence[int],
        success: bool,
        dev: str | None = None,
        network: Network | None = None,
    ) -> Record:
        """Return reason=start or attach: the hand-over.

        ``fds`` are the descriptors in qemu, ``dev`` is the tap or macvtap, and ``network`` is the network that
        it is on.
        """
        fields = self._net(reason)
        fields.update(
            {"old-net": None, "new-net": mac, "fds": ",".join(map(str, fds)) or None}
        )
        if dev is not None:
            fields["dev"] = dev
        if network is not None:
            fields.update(network.handed_over())
        return self._record("VIRT_RESOURCE", fields, success)

    def net_updates(
        self, mac: str, dev: str, before: Network, after: Network, success: bool
    ) -> list[Record]:
        """Return reason=update: a value of a NIC's network was changed in place."""
        fields: Fields = {**self._net("update"), "net": mac, "dev": dev}
        return [
            self._record("VIRT_RESOURCE", {**fields, **changed}, success)
            for changed in before.changes(after)
        ]

    def net_detach(self, mac: str, success: bool) -> Record:
        """Return reason=detach."""
        return self._record(
            "VIRT_RESOURCE",
            {**self._net("detach"), "old-net": mac, "new-net": None},
            success,
        )

    def _identity(self) -> Fields:
        return {"vm": self.vm.name, "uuid": self.vm.uuid}

    def _net(self, reason: str) -> Fields:
        return {
            "virt": self.vm.virt,
            "resrc": "net",
            "reason": reason,
            **self._identity(),
        }

    def _node(self, reason: str, mac: str, device: DeviceLike) -> Fields:
        return {
            **self._net(reason),
            "net": mac,
            "path": device.path,
            "rdev": device.rdev,
            "dev": device.dev,
        }

    def _record(self, record_type: str, fields: Fields, success: bool) -> Record:
        result = "success" if success else "failed"
        return Record(record_type, {**fields, **self.origin.fields(), "res": result})
