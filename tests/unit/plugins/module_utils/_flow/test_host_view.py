# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the module finds the place of a NIC's link on the host."""

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.place import (
    Place,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LinkError
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import host_view
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    ovs_port,
    ovsdb,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter import table


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize(
    ("master", "ports", "source"),
    [
        ("br0", {}, "br0"),
        ("br0", None, "br0"),
        (None, {}, None),
        (None, {"vt1": "ovs0"}, "ovs0"),
        ("ovs-system", {"vt1": "ovs0"}, "ovs0"),
        ("ovs-system", {}, None),
    ],
)
def test_the_kernel_or_the_switch_knows_the_place_of_a_tap(
    monkeypatch: pytest.MonkeyPatch,
    master: str | None,
    ports: dict[str, str] | None,
    source: str | None,
    runs: bool,
) -> None:
    places = look(monkeypatch, master, ports, runs)
    assert places["vt1"].source == source
    assert places["vt1"].filtered is bool(ports and source == "ovs0")


@pytest.mark.parametrize(
    ("master", "runs", "known"),
    [("ovs-system", True, False), (None, True, False), (None, False, True)],
)
def test_a_port_has_no_place_only_if_the_switch_does_not_run(
    monkeypatch: pytest.MonkeyPatch, master: str | None, runs: bool, known: bool
) -> None:
    places = look(monkeypatch, master, None, runs)
    assert (places["vt1"].source, places["vt1"].is_known) == (None, known)
    assert (places["vt1"].filtered is None) is not known


def look(
    monkeypatch: pytest.MonkeyPatch,
    master: str | None,
    ports: dict[str, str] | None,
    runs: bool,
) -> dict[str, Place]:
    """Look at one tap. ``ports`` is the answer of Open vSwitch, or ``None`` if it does not answer."""

    def bridge_of_ports() -> dict[str, str]:
        if ports is None:
            raise LinkError("it does not answer")
        return ports

    monkeypatch.setattr(ovs_port, "bridge_of_ports", bridge_of_ports)
    monkeypatch.setattr(ovsdb, "switch_runs", lambda: runs)
    monkeypatch.setattr(sysfs, "ifindex", lambda name: 7)
    monkeypatch.setattr(sysfs, "is_tap", lambda name: True)
    monkeypatch.setattr(sysfs, "master", lambda name: master)
    # Only the table for ports of Open vSwitch knows it.
    monkeypatch.setattr(
        table, "filtered", lambda links, family: {"vt1": family == "ingress"}
    )
    return host_view._places_of(["vt1"])
