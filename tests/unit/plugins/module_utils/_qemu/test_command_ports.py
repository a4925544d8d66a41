# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import command
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.command import (
    MAX_PORTS,
    Backend,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    UUID,
    an_interface,
    qemu_options,
)


def devices_of(arguments: list[str]) -> list[dict[str, t.Any]]:
    pairs = zip(arguments, arguments[1:])
    return [json.loads(value) for word, value in pairs if word == "-device"]


def a_vm_of(count: int, usb: int, spare: int) -> list[str]:
    backends = []
    for number in range(count + usb):
        model = "virtio-net-pci" if number < count else "usb-net"
        mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
        backends.append(Backend(an_interface(mac=mac, model=model), (number + 10,), ()))
    return command.argv(
        "qemu", "web01", UUID, qemu_options(hotplug_ports=spare), (7, 2), 9, backends
    )


@given(st.integers(0, MAX_PORTS), st.integers(0, 4), st.data())
def test_ports(count: int, usb: int, data: st.DataObject) -> None:
    spare = data.draw(st.integers(0, MAX_PORTS - count))
    devices = devices_of(a_vm_of(count, usb, spare))
    ports = [each for each in devices if each["driver"] == "pcie-root-port"]
    nics = [each for each in devices if each["driver"] != "pcie-root-port"]
    assert len(ports) == count + spare
    assert len({each["id"] for each in ports}) == len(ports)
    assert len({each["chassis"] for each in ports}) == len(ports)
    assert len({each["addr"] for each in ports}) == len(ports)
    assert all(1 <= each["chassis"] <= 255 for each in ports)
    for each in ports:
        slot, _dot, function = each["addr"].partition(".")
        # 0 is the host bridge, 0x1f q35's own devices
        assert 1 <= int(slot, 16) <= 0x1E
        assert 0 <= int(function) <= 7
        assert each.get("multifunction", False) is (function == "0")
    buses = [each["bus"] for each in nics if "bus" in each]
    assert len(set(buses)) == len(buses) == count
    assert set(buses) <= {each["id"] for each in ports}
    assert len(nics) == count + usb
