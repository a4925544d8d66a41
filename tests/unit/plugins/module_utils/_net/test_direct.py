# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import link as links
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import sysfs
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.backends import (
    backend_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC


@pytest.mark.parametrize(
    ("ifindex", "name", "lower", "rdev", "found"),
    [
        (7, "vt525400000001", "eth1", "246:1", True),
        # The index is not noted yet. The MAC tells nothing, because in mode passthrough it is the
        # lower device's.
        (None, "vt525400000001", "eth1", "246:1", True),
        (8, "vt525400000001", "eth1", "246:1", False),
        # Somebody has renamed the lower device, or the macvtap.
        (7, "vt525400000001", "lan1", "246:1", True),
        (7, "web01", "eth1", "246:1", True),
        # Most likely it is a macvtap of another network namespace.
        (7, "web01", "eth2", "246:1", False),
        (None, "vt525400000001", "eth2", "246:1", False),
        (7, "web01", "eth1", None, False),
        (None, "vt525400000001", "eth1", None, False),
    ],
)
def test_the_macvtap_that_is_left_of_a_nic(
    monkeypatch: pytest.MonkeyPatch,
    ifindex: int | None,
    name: str,
    lower: str,
    rdev: str | None,
    found: bool,
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(
        sysfs, "macvtap_rdev", lambda asked: rdev if asked == name else None
    )
    monkeypatch.setattr(sysfs, "name_of", {7: name}.get)
    monkeypatch.setattr(sysfs, "lower", {name: lower}.get)
    monkeypatch.setattr(sysfs, "address", lambda _name: "52:54:00:99:99:99")
    monkeypatch.setattr(links, "remove", removed.append)
    link = NicLink("vt525400000001", ifindex, MAC, Network(source="eth1"))
    assert backend_of("direct").remains(link) is found
    backend_of("direct").remove(link)
    assert removed == ([name] if found else [])


def test_each_type_has_one_back_end() -> None:
    for kind in ("bridge", "direct"):
        assert backend_of(kind).kind == kind
        assert backend_of(kind) is backend_of(kind)
