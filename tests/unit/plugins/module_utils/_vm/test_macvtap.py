# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._net import holdings, sysfs
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.macvtap import has_link
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    a_nic_note,
)

LOWERS_MAC = "52:54:00:99:99:99"


@pytest.mark.parametrize(
    ("mode", "ifindex", "address", "found"),
    [
        ("bridge", 7, LOWERS_MAC, True),
        ("bridge", 8, MAC, False),
        # A task that was cut off before it noted the index.
        ("bridge", None, MAC, True),
        ("bridge", None, LOWERS_MAC, False),
        # The kernel gives it the lower device's MAC in this mode.
        ("passthrough", None, LOWERS_MAC, True),
        ("passthrough", None, MAC, True),
        ("passthrough", 8, LOWERS_MAC, False),
    ],
)
def test_which_macvtap_is_that_of_a_nic(
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    ifindex: int | None,
    address: str,
    found: bool,
) -> None:
    monkeypatch.setattr(sysfs, "macvtap_rdev", lambda _name: "246:1")
    monkeypatch.setattr(sysfs, "ifindex", lambda _name: 7)
    monkeypatch.setattr(sysfs, "address", lambda _name: address)
    monkeypatch.setattr(sysfs, "lower", lambda _name: "eth1")
    monkeypatch.setattr(holdings, "holder_of", lambda *_given: None)
    note = a_nic_note(type="direct", source="eth1", mode=mode, ifindex=ifindex)
    assert has_link(note) is found
