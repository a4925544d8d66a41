# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the module finds the place of a NIC's link on the host."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.place import (
    Place,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LinkError
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import (
    compare,
    host_view,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    holdings,
    ovs_port,
    ovsdb,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter import table
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import statedir
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

TAP = Device("/dev/net/tun", "0A:C8", "vt01", 7)
# a user's process, which comes after the VM's
QEMU, OTHER = Process(4711, 1), Process(4712, 1)
LEAK = ("leaked_device", None)


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


def a_host(monkeypatch: pytest.MonkeyPatch, processes: list[Process]) -> None:
    """Make a host with one tap, without notes of VMs."""
    monkeypatch.setattr(sysfs, "names", lambda: ["vt01"])
    monkeypatch.setattr(sysfs, "is_tap", lambda name: True)
    monkeypatch.setattr(sysfs, "address", lambda name: MAC)
    monkeypatch.setattr(host_view, "_places_of", lambda names: {})
    monkeypatch.setattr(statedir, "other_notes", lambda uuid: [])
    monkeypatch.setattr(host_view, "all_processes", lambda: processes)
    monkeypatch.setattr(host_view, "told", lambda words: ("web01", UUID))


# which processes hold a tap with the name of the host's link, and which of them holds the host's link itself; whether the
# VM of the trail holds what it was granted; and the findings with the pid of the holder
HOLDERS: list[
    tuple[list[Process], Process | None, bool, list[tuple[str, int | None]]]
] = [
    ([QEMU], QEMU, True, []),
    # A namesake neither takes the link from its VM nor hides that nobody has it.
    ([QEMU, OTHER], QEMU, True, []),
    ([QEMU], None, False, [("stale_grant", 4711), ("unrecorded_fd", 4711), LEAK]),
    ([OTHER], None, False, [("stale_grant", None), LEAK]),
    ([OTHER], OTHER, False, [("stale_grant", None), ("leaked_device", 4712)]),
]


@pytest.mark.parametrize("libvirt", [False, True])
@pytest.mark.parametrize(("holders", "behind", "live", "findings"), HOLDERS)
def test_a_tap_with_the_same_name_in_another_namespace_is_not_the_link(
    monkeypatch: pytest.MonkeyPatch,
    holders: list[Process],
    behind: Process | None,
    live: bool,
    findings: list[tuple[str, int | None]],
    libvirt: bool,
) -> None:
    a_host(monkeypatch, holders)
    monkeypatch.setattr(host_view, "is_qemu", lambda process: process == QEMU)
    monkeypatch.setattr(holdings, "of", lambda process: [TAP])
    monkeypatch.setattr(
        holdings, "is_behind", lambda process, opened, name: process == behind
    )
    trail = Trail()
    trail.read(Story(libvirt=libvirt).open().attach(fds=[7]).items, 5000.0)
    seen = host_view.look()
    compare.compare(trail, seen, host_view.look(), 0.0, 5000.0)
    assert [grant.live for grant in trail.grants()] == [live]
    found = [(each.code, each.pid) for each in trail.findings.all()]
    assert sorted(found, key=str) == sorted(findings, key=str)


# what the first thread of the VM has open, what only another thread of it has open, and the findings
HIDERS: list[tuple[list[Device], list[Device], list[str]]] = [
    ([TAP], [], []),
    ([], [TAP], []),
    ([TAP], [TAP], ["unrecorded_fd"]),
    ([], [], ["leaked_device", "stale_grant"]),
]


@pytest.mark.parametrize("runs_vm", [True, False])
@pytest.mark.parametrize(("shown", "hidden", "codes"), HIDERS)
def test_a_vm_that_hides_a_device_in_a_thread_holds_it(
    monkeypatch: pytest.MonkeyPatch,
    shown: list[Device],
    hidden: list[Device],
    codes: list[str],
    runs_vm: bool,
) -> None:
    a_host(monkeypatch, [QEMU])
    monkeypatch.setattr(host_view, "is_qemu", lambda process: runs_vm)
    monkeypatch.setattr(holdings, "of", lambda process: shown)
    nameless = [dataclasses.replace(each, fd=None) for each in hidden]
    monkeypatch.setattr(holdings, "hidden", lambda process: nameless)
    monkeypatch.setattr(holdings, "is_behind", lambda process, opened, name: True)
    trail = Trail()
    trail.read(Story().open().attach(fds=[7]).items, 5000.0)
    if runs_vm:
        compare.compare(trail, host_view.look(), host_view.look(), 0.0, 5000.0)
        found = trail.findings.all()
        assert sorted(each.code for each in found) == codes
        assert all("as descriptor None" not in each.message for each in found)
    else:
        # The process of a user can make a tap of any name in a namespace of his own.
        assert [*host_view._told_apart(QEMU, ["vt01"], False)] == shown


def test_only_a_link_of_this_namespace_can_have_a_namesake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A VM whose tap is in another namespace keeps the tap's name, as long as no link here has it."""
    monkeypatch.setattr(holdings, "of", lambda process: [TAP])
    monkeypatch.setattr(holdings, "is_behind", lambda process, opened, name: False)
    assert list(host_view._told_apart(QEMU, ["vt02"], True)) == [TAP]
    assert list(host_view._told_apart(QEMU, ["vt01"], True)) != [TAP]
