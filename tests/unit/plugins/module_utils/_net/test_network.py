# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network that the record of a failure names."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    MAX_LIST_BYTES,
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LinkError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    ovs_port,
    port_vlan,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.backends import (
    backend_of,
    openvswitch,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.network import (
    network_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.ovs_port import (
    OvsPort,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.port_vlan import (
    PortVlans,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.vlan import of_vids
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID

LINK = NicLink("vt0", 12, MAC, Network("br0", vlan="42"))


@pytest.fixture(autouse=True)
def fixture_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with the link, which is up on br0. Neither its VLANs nor the database of Open vSwitch can be read."""

    def fail(_given: object) -> t.NoReturn:
        raise LinkError("nobody answers")

    monkeypatch.setattr(sysfs, "exists", lambda name: name == "vt0")
    monkeypatch.setattr(sysfs, "master", lambda name: "br0")
    monkeypatch.setattr(sysfs, "is_up", lambda name: True)
    monkeypatch.setattr(port_vlan, "read", fail)
    monkeypatch.setattr(ovs_port, "read_all", fail)


def test_what_cannot_be_read_is_left_out() -> None:
    assert network_of(LINK, "bridge") == ("vt0", Network("br0"))


def test_a_network_of_which_nothing_can_be_read_is_left_out() -> None:
    assert network_of(LINK, "openvswitch") == ("vt0", None)


def test_a_link_that_does_not_exist_has_no_network() -> None:
    assert network_of(LINK._replace(ifname="vt1"), "openvswitch") == (None, None)


# VLANs that somebody gave a port by hand: no NIC can have the first, and no task can ask for the second
BY_HAND = [
    PortVlans(1, dict.fromkeys(range(1, 4095), True)),
    PortVlans(None, dict.fromkeys(range(1, 4095, 2), False)),
]


@pytest.mark.parametrize("vlans", BY_HAND)
def test_vlans_that_somebody_gave_a_port_fit_into_a_record(
    monkeypatch: pytest.MonkeyPatch, vlans: PortVlans
) -> None:
    monkeypatch.setattr(port_vlan, "read", lambda name: vlans)
    assert len(str(vlans)) > MAX_LIST_BYTES
    port = OvsPort("ovs0", of_vids(None, range(1, 4095, 2)), False, {})
    found = [
        backend_of("bridge").observe(LINK),
        openvswitch._with_port(LINK.network, port),
    ]
    messages = Messages(
        Vm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None)
    )
    for before in found:
        (record,) = messages.net_updates(
            MAC, "vt0", before, Network(before.source, vlan="42"), True
        )
        assert record.fields["old-vlan"] == before.vlan
        assert str(before.vlan).endswith("...")
        assert record.text().endswith("res=success")
