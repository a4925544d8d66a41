# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A qemu that has just started holds the devices that it got, and no other network device."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import ProcessError
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import cold_start
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.command import (
    Backend,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    a_nic_note,
    an_interface,
    macvtap,
    tun,
    vhost,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

GIVEN = [tun(31), vhost(32)]


def holding(*devices: Device) -> FakeQemu:
    qemu = FakeQemu()
    qemu.held = {opened.fileno(): opened for opened in devices}
    return qemu


def test_a_new_qemu_holds_its_devices() -> None:
    cold_start._require_exact(holding(*GIVEN).process, GIVEN)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ([tun(31)], "does not hold /dev/vhost-net of vt525400000001 as fd 32"),
        ([], "does not hold /dev/net/tun of vt525400000001 as fd 31"),
        ([*GIVEN, tun(40, "tap9")], "/dev/net/tun (tap9) as descriptor 40"),
        ([*GIVEN, macvtap(40, "mv9")], "/dev/tap12 (mv9) as descriptor 40"),
        # A second copy of a device that qemu got.
        ([*GIVEN, tun(40)], "/dev/net/tun (vt525400000001) as descriptor 40"),
        ([*GIVEN, vhost(40)], "/dev/vhost-net"),
        (
            [*GIVEN, Device("/dev/vhost-vdpa-0", "F0:00", None, 40)],
            "/dev/vhost-vdpa-0 as descriptor 40",
        ),
    ],
)
def test_missing_and_additional_devices(held: list[Device], words: str) -> None:
    with pytest.raises(ProcessError, match=re.escape(words)):
        cold_start._require_exact(holding(*held).process, GIVEN)


def test_a_vm_without_interfaces() -> None:
    cold_start._require_exact(holding().process, [])
    with pytest.raises(ProcessError, match="did not give it"):
        cold_start._require_exact(holding(tun(40, "tap9")).process, [])


def test_the_descriptors_of_a_back_end() -> None:
    interface = an_interface(queues=2)
    devices = [tun(7), tun(8), vhost(9), vhost(10)]
    found = cold_start._backend(interface, devices)
    assert found == Backend(interface, (7, 8), (9, 10))


def test_other_devices_of_a_running_vm_are_reported() -> None:
    ours = Nic(MAC, None, "n", GIVEN, a_nic_note(devices=GIVEN))
    # Somebody added it by hand, through the VM's monitor.
    strange: t.Any = Nic("52:54:00:00:00:09", None, "m", [tun(40, "tap9")], None)
    qemu = holding(*GIVEN, tun(40, "tap9"))
    (said,) = nic.strange_devices("web01", qemu.process, [ours, strange])
    assert said.startswith(
        "VM web01 (qemu, pid 4711) holds /dev/net/tun (tap9) as descriptor 40,"
    )
    assert nic.strange_devices("web01", holding(*GIVEN).process, [ours]) == []


def test_a_device_left_by_an_interrupted_attach_is_not_strange() -> None:
    left = a_nic_note(phase="opening", ifname="tap9", devices=[tun(7)])
    qemu = holding(tun(40, "tap9"), vhost(41)).process
    said = nic.strange_devices("web01", qemu, [], [left])
    assert [text.partition(" as ")[2][:13] for text in said] == ["descriptor 41"]
    left.devices.append(vhost(8))
    assert nic.strange_devices("web01", qemu, [], [left]) == []
