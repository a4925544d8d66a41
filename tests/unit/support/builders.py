# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes values that many tests need. A test gives only the parts that it cares about."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface import (
    Interface,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.command import (
    QemuOptions,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import (
    NicNote,
    Note,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.target import Target

MAC = "52:54:00:00:00:01"
UUID = "c1e2f3a4-0001-4000-8000-000000000011"

_INTERFACE = Interface(
    option="interfaces[0]",
    mac=MAC,
    type="bridge",
    source="br0",
    mode="",
    model="virtio-net-pci",
    queues=1,
    vhost="auto",
    ifname="vt525400000001",
    mtu=None,
)
_NOTE = Note(
    name="web01",
    uuid=UUID,
    virt="kvm",
    boot_id="b",
    qmp_socket="/run/virtaudit/u/qmp.sock",
    started=True,
)
_NIC_NOTE = NicNote(
    mac=MAC,
    type="bridge",
    source="br0",
    mode=None,
    model="virtio-net-pci",
    ifname="vt525400000001",
    queues=1,
    netdev="hostnet-525400000001",
    phase="held",
)


# The option ``qemu`` with its defaults, in the form in which Ansible gives it to the module.
QEMU: dict[str, t.Any] = {
    "binary": "qemu-system-x86_64",
    "machine": "q35",
    "accel": "kvm",
    "cpu": None,
    "memory": "1024",
    "vcpus": 1,
    "args": [],
    "user": None,
    "paused": False,
    "hotplug_ports": 8,
}


def qemu_options(**changes: t.Any) -> QemuOptions:
    """Return the parsed option ``qemu``."""
    return QemuOptions(**{**QEMU, "args": (), **changes})


def an_interface(**changes: t.Any) -> Interface:
    """Return a parsed interface."""
    return _INTERFACE._replace(**changes)


def an_item(**changes: t.Any) -> dict[str, t.Any]:
    """Return an item of the option ``interfaces`` as Ansible gives it to the module."""
    item: dict[str, t.Any] = {
        "mac": MAC,
        "type": "bridge",
        "source": "br0",
        "mode": None,
        "model": "virtio-net-pci",
        "queues": 1,
        "vhost": "auto",
        "ifname": None,
        "mtu": None,
        "vlan": None,
        "filter": "none",
        "addresses": None,
        "isolated": False,
        "link": "up",
        "port_profile": None,
        "interface_id": None,
    }
    assert set(changes) <= set(item)
    return {**item, **changes}


def a_note(**changes: t.Any) -> Note:
    """Return a VM's note."""
    return dataclasses.replace(_NOTE, **{"interfaces": {}, **changes})


def a_nic_note(**changes: t.Any) -> NicNote:
    """Return an interface's note."""
    return dataclasses.replace(_NIC_NOTE, **{"devices": [], **changes})


def tun(fd: int, dev: str = "vt525400000001") -> Device:
    """Return an open queue of a tap."""
    return Device("/dev/net/tun", "0A:C8", dev, fd, f"1.000:{fd}")


def macvtap(fd: int, dev: str = "vt525400000001") -> Device:
    """Return an open queue of a macvtap."""
    return Device("/dev/tap12", "F6:01", dev, fd, f"1.000:{fd}")


def vhost(fd: int, dev: str = "vt525400000001") -> Device:
    """Return an open vhost-net."""
    return Device("/dev/vhost-net", "0A:EE", dev, fd, f"1.000:{fd}")


def a_target(**changes: t.Any) -> Target:
    """Return a task's target, which is a VM that this collection started."""
    values: dict[str, t.Any] = {
        "name": "web01",
        "uuid": UUID,
        "qmp_socket": None,
        "user": None,
        "audit": "required",
        "timeout": 1.0,
        **changes,
    }
    return Target(**values)
