# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.findings import (
    Finding,
    Findings,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.place import (
    Place,
    compare_place,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

NOW = 5000.0
BR0, BR1, NONE = (Place(source, True) for source in ("br0", "br1", None))
UNKNOWN = Place(None, True, is_known=False)
FILTERED, BARE = (Place("br0", True, filtered) for filtered in (True, False))
ON_BR0, BY_MAC = Network("br0"), Network("br0", filter="mac")


def found(network: Network | None, *seen: Place | None) -> list[Finding]:
    trail, findings = Trail(), Findings()
    trail.read(Story().open().attach(network=network).items, NOW)
    (grant,) = trail.grants()
    compare_place(grant, seen, findings, NOW)
    return findings.all()


@pytest.mark.parametrize(
    ("network", "seen", "codes"),
    [
        (ON_BR0, (BR0, BR0), []),
        (ON_BR0, (BR1, BR1), ["moved_port"]),
        (ON_BR0, (NONE, NONE), ["moved_port"]),
        (ON_BR0, (NONE, BR1), ["moved_port"]),
        # A task moves the link while the module reads the logs.
        (ON_BR0, (BR1, BR0), []),
        (ON_BR0, (BR0, BR1), []),
        # The link was removed, or is in another network namespace.
        (ON_BR0, (None, None), ["moved_port"]),
        (BY_MAC, (None, None), ["moved_port"]),
        # The link appears or disappears meanwhile.
        (ON_BR0, (BR1, None), []),
        (ON_BR0, (None, BR1), []),
        (BY_MAC, (BARE, None), []),
        # Open vSwitch does not tell the bridge.
        (ON_BR0, (UNKNOWN, UNKNOWN), []),
        (ON_BR0, (UNKNOWN, BR1), []),
        (BY_MAC, (UNKNOWN, UNKNOWN), []),
        # The record does not say where the link is.
        (None, (BR1, BR1), []),
        (None, (None, None), []),
        (Network(filter="mac"), (None, None), []),
        (BY_MAC, (FILTERED, FILTERED), []),
        (BY_MAC, (BARE, BARE), ["missing_filter"]),
        (BY_MAC, (BARE, FILTERED), []),
        # Nobody looked.
        (BY_MAC, (BR0, BR0), []),
        (BY_MAC, (BR1, BR1), ["moved_port"]),
        (ON_BR0, (BARE, BARE), []),
    ],
)
def test_the_difference_between_host_and_record(
    network: Network | None, seen: tuple[Place | None, ...], codes: list[str]
) -> None:
    assert [each.code for each in found(network, *seen)] == codes


def test_a_tap_that_was_moved() -> None:
    (finding,) = found(ON_BR0, BR1, BR1)
    assert finding.result() == {
        "code": "moved_port",
        "severity": "high",
        "message": f"The record of 1970-01-01T00:16:40.000Z says that {MAC} of VM web01 is on br0, and its link vt01 is a"
        " port of br1. Somebody moved it without a record. Find out who did it. Then put it back ('ip link set vt01 master"
        " br0', or 'ovs-vsctl add-port br0 vt01' for a bridge of Open vSwitch),"
        " or run vm_net_attach for the VM, which puts it where the task says and records it.",
        "time": "1970-01-01T01:23:20.000Z",
        "events": ["1000.000:102"],
        "node": None,
        "vm": "web01",
        "uuid": UUID,
        "mac": MAC,
        "dev": "vt01",
        "path": None,
        "pid": None,
        "fd": None,
        "exe": None,
        "auid": 1000,
    }
    (finding,) = found(ON_BR0, NONE, NONE)
    assert "its link vt01 is a port of no bridge." in finding.message


def test_a_link_that_was_removed() -> None:
    (finding,) = found(ON_BR0, None, None)
    assert (finding.severity, finding.dev) == ("high", "vt01")
    assert finding.message == (
        f"The record of 1970-01-01T00:16:40.000Z says that {MAC} of VM web01 is on br0, and its link vt01 is not in this"
        " network namespace any more (it was removed or moved), so the guest has no network there. Find out who did it."
        " Then detach the NIC with vm_net_detach, and attach it again."
    )


@pytest.mark.parametrize(
    "device",
    [
        Device("/dev/vhost-vdpa-0", "EF:00", "vhost-vdpa-0", 7),
        # The logs do not have the open any more.
        Device(None, None, None, 7),
    ],
)
def test_a_vdpa_device_has_no_link(device: Device) -> None:
    trail, findings = Trail(), Findings()
    trail.read(Story().open().attach(network=Network("vdpa0")).items, NOW)
    (grant,) = trail.grants()
    grant.devices, grant.ifname = [device], "vhost-vdpa-0"
    compare_place(grant, (None, None), findings, NOW)
    assert findings.all() == []


def test_a_macvtap_on_another_device() -> None:
    (finding,) = found(Network("eth1"), *[Place("eth2", False)] * 2)
    assert "is on eth1, and" in finding.message
    assert "its link vt01 is on eth2." in finding.message
    assert "ip link" not in finding.message


def test_a_filter_that_was_flushed() -> None:
    (finding,) = found(BY_MAC, BARE, BARE)
    assert finding.severity == "high"
    assert finding.message.startswith(
        f"The record of 1970-01-01T00:16:40.000Z says that {MAC} of VM web01 has the filter mac, and nftables has no rule of"
        " this collection for its link vt01. So the guest can send from any address."
    )
