# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network that the record of a failure names."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LinkError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    ovs_port,
    port_vlan,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.network import (
    network_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC

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
