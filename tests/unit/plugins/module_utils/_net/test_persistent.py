# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The code removes a persistent tap of this collection by its index. The tap counts as held until it is removed."""

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LinkError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    holdings,
    link,
    ovsdb,
    persistent,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.backends import (
    backend_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.holdings import (
    Holding,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import nic_end
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    a_nic_note,
)

IFNAME = "vt525400000001"


class Host:
    """Taps by their index. ``persistent`` are the names of the taps that stay without a descriptor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taps = {7: IFNAME, 8: "tap8"}
        self.persistent = {IFNAME, "tap8"}
        self.holding: Holding | None = None
        self.keeps = False
        self.failure: LinkError | None = None
        monkeypatch.setattr(sysfs, "name_of", self.taps.get)
        monkeypatch.setattr(sysfs, "exists", lambda name: name in self.taps.values())
        monkeypatch.setattr(sysfs, "is_persistent", self.persistent.__contains__)
        monkeypatch.setattr(holdings, "wait_free", lambda *_link: self.holding)
        monkeypatch.setattr(link, "remove_at", self.remove_at)
        monkeypatch.setattr(ovsdb, "is_installed", lambda: False)

    def remove_at(self, ifindex: int, _name: str) -> None:
        if self.failure is not None:
            raise self.failure
        if not self.keeps:
            del self.taps[ifindex]


@pytest.fixture(name="host")
def fixture_host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def waited(ifindex: int | None, made: bool = True) -> tuple[Holding | None, list[str]]:
    """Return who holds the NIC's tap after the wait, and the warnings."""
    auditor = Auditor("off")
    nic = a_nic_note(ifname=IFNAME, ifindex=ifindex, made=made)
    return nic_end.wait_free(nic, auditor), auditor.warnings


def test_a_persistent_tap_is_removed(host: Host) -> None:
    holding, warnings = waited(7)
    assert holding is None
    assert host.taps == {8: "tap8"}
    (warning,) = warnings
    assert f"made the tap {IFNAME} of {MAC} persistent" in warning


def test_a_renamed_tap_is_removed_by_its_index(host: Host) -> None:
    host.taps.update({7: "other", 9: IFNAME})
    host.persistent.add("other")
    assert waited(7)[0] is None
    assert host.taps == {8: "tap8", 9: IFNAME}


@pytest.mark.parametrize("ifindex", [9, None])
def test_another_tap_with_its_name_stays(host: Host, ifindex: int | None) -> None:
    holding, warnings = waited(ifindex)
    assert host.taps == {7: IFNAME, 8: "tap8"}
    assert warnings == []
    if ifindex is None:
        # No note has the index of the task's tap.
        assert f"'ip link delete {IFNAME}'" in str(holding)
    else:
        assert holding is None


def test_a_tap_that_another_program_made_stays(host: Host) -> None:
    assert waited(7, made=False) == (None, [])
    assert host.taps == {7: IFNAME, 8: "tap8"}


def test_a_tap_that_a_process_holds_stays(host: Host) -> None:
    host.holding = Holding(IFNAME)
    assert waited(7) == (host.holding, [])
    assert host.taps == {7: IFNAME, 8: "tap8"}


def test_a_tap_that_is_not_persistent_needs_nothing(host: Host) -> None:
    host.persistent.clear()
    assert waited(7) == (None, [])
    assert waited(None) == (None, [])


@pytest.mark.parametrize("there", [True, False])
def test_a_tap_whose_persistence_was_just_taken_back_is_held(
    host: Host, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Somebody passes its descriptor through sockets, and makes it persistent only from time to time."""
    host.persistent.clear()
    monkeypatch.setattr(sysfs, "is_tun", lambda name: name == IFNAME)
    if not there:
        del host.taps[7]
    holding, warnings = waited(7)
    assert (holding, warnings) == (Holding(IFNAME) if there else None, [])
    assert (7 in host.taps) is there


@pytest.mark.parametrize("keeps", [True, False])
def test_a_tap_that_cannot_be_removed_counts_as_held(host: Host, keeps: bool) -> None:
    host.keeps = keeps
    host.failure = None if keeps else LinkError(f"{IFNAME} could not be removed: no")
    holding, warnings = waited(7)
    assert "could not remove it" in str(holding)
    assert warnings == []


@pytest.mark.parametrize("kind", ["bridge", "openvswitch"])
@pytest.mark.parametrize(("ifindex", "left"), [(7, True), (9, False), (None, False)])
def test_a_persistent_tap_is_a_part_that_remains(
    host: Host, kind: str, ifindex: int | None, left: bool
) -> None:
    backend = backend_of(kind)
    found = NicLink(IFNAME, ifindex, MAC, Network("br0"))
    assert backend.remains(found) is left
    backend.remove(found)
    assert (IFNAME not in host.taps.values()) is left
    assert not backend.remains(found)


def test_a_link_that_is_no_tap_is_not_persistent() -> None:
    assert persistent.find(None) is None
    # The index 1 is the loopback device.
    assert persistent.find(1) is None
