# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import os

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.place import (
    Place,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.netlink import (
    Status,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import compare
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.host_view import (
    Holder,
    Look,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

NOW = 5000.0
TAP = Device("/dev/net/tun", "0A:C8", "vt01", 7)
TAP2 = Device("/dev/net/tun", "0A:C8", "vt01", 8)
VHOST = Device("/dev/vhost-net", "0A:C8", None, 9)


def qemu(
    *devices: Device, uuid: str | None = UUID, pid: int = 4711, started: float = 900.0
) -> Holder:
    return Holder(
        Process(pid, 1), started, "/usr/bin/qemu", True, "web01", uuid, devices
    )


def other(*devices: Device) -> Holder:
    return Holder(Process(99, 1), 900.0, "/usr/sbin/vpn", False, None, None, devices)


def host(*holders: Holder, links: dict[str, str | None] | None = None) -> Look:
    return Look({each.process: each for each in holders}, links or {})


def check(
    story: Story, before: Look, after: Look | None = None, begin: float = 0.0
) -> tuple[list[bool | None], list[tuple[str, str]]]:
    """Return ``live`` of each grant, and code and severity of each finding."""
    trail = Trail()
    trail.read(story.items, NOW)
    compare.compare(trail, before, after or before, begin, NOW)
    found: list[tuple[str, str]] = [
        (each.code, each.severity) for each in trail.findings.all()
    ]
    return [grant.live for grant in trail.grants()], found


def granted() -> Story:
    return Story().open().attach(fds=[7])


STALE = [("stale_grant", "medium")]
UNKNOWN = [("unrecorded_fd", "high")]
COPIED = [*UNKNOWN, ("leaked_device", "medium")]


@pytest.mark.parametrize(
    ("story", "before", "after", "live", "findings"),
    [
        (Story(), host(), None, [], []),
        (granted(), host(qemu(TAP)), None, [True], []),
        (granted(), host(), None, [False], STALE),
        (granted(), host(qemu()), None, [False], STALE),
        (granted(), host(qemu(TAP2)), None, [False], [*UNKNOWN, *STALE]),
        (granted(), host(qemu(TAP, TAP2)), None, [True], UNKNOWN),
        (Story(), host(qemu(TAP)), None, [], UNKNOWN),
        (Story(), host(qemu(TAP, uuid=None)), None, [], UNKNOWN),
        (Story(), host(other(TAP)), None, [], []),
        # If the command line of a VM has no UUID, the pid of its start identifies the VM.
        (
            Story().open().start(fds=[7]).booted(pid=4711),
            host(qemu(TAP, uuid=None)),
            None,
            [True],
            [],
        ),
        # One of two queues is gone.
        (
            Story().open().open().attach(fds=[7, 8]),
            host(qemu(TAP)),
            None,
            [False],
            STALE,
        ),
        (
            Story().open().open(path="/dev/vhost-net").attach(fds=[7, 9]),
            host(qemu(TAP, VHOST)),
            None,
            [True],
            [],
        ),
        # The logs do not have the open any more.
        (Story().attach(fds=[7]), host(qemu(TAP)), None, [True], []),
        # The only device of the grant is closed on record, but no detach is on record.
        (granted().close(fd=7), host(qemu()), None, [], []),
        # A task does this while the module reads the logs.
        (granted(), host(), host(qemu(TAP)), [True], []),
        (granted(), host(qemu(TAP)), host(), [True], []),
        (Story(), host(), host(qemu(TAP)), [], []),
        (Story(), host(qemu(TAP)), host(), [], []),
        # The trail itself has a finding about an open that was not handed over.
        (Story().open(), host(qemu(TAP)), None, [], [("unclaimed_open", "medium")]),
        # A second qemu has the UUID of the first.
        (granted(), host(qemu(TAP), qemu(TAP2, pid=4712)), None, [True], UNKNOWN),
        (granted(), host(qemu(TAP2), qemu(TAP, pid=4712)), None, [True], UNKNOWN),
        # Another host's.
        (Story(node="elsewhere").open().attach(), host(), None, [None], []),
    ],
)
def test_the_trail_is_compared_with_the_host(
    story: Story,
    before: Look,
    after: Look | None,
    live: list[bool | None],
    findings: list[tuple[str, str]],
) -> None:
    assert check(story, before, after) == (live, findings)


@pytest.mark.parametrize(
    "node", [os.uname().nodename, f"{os.uname().nodename}.example.com", "127.0.1.1"]
)
def test_this_host_under_any_name(node: str) -> None:
    story = Story(node=node).open().attach(fds=[7])
    assert check(story, host(qemu(TAP))) == ([True], [])
    story = Story(node=node).open()
    assert check(story, host(qemu(TAP)))[1] == [("unclaimed_open", "medium")]


def test_a_grant_without_a_device_is_held_by_nobody() -> None:
    trail = Trail()
    trail.read(granted().items, NOW)
    trail.grants()[0].devices.clear()
    compare.compare(trail, host(qemu()), host(qemu()), 0.0, NOW)
    assert [grant.live for grant in trail.grants()] == [False]


def test_libvirts_taps_are_known_by_their_mac() -> None:
    story = Story(libvirt=True).open().open(path="/dev/vhost-net").attach()
    taps = [Device("/dev/net/tun", "0A:C8", "vnet3", fd) for fd in (30, 31)]
    vhosts = [Device("/dev/vhost-net", "0A:EE", None, fd) for fd in (32, 33)]
    links: dict[str, str | None] = {"vnet3": "fe" + MAC[2:]}
    assert check(story, host(qemu(*taps, *vhosts), links=links)) == ([True], [])
    links = {"vnet3": "fe:00:00:00:00:99"}
    assert check(story, host(qemu(*taps), links=links))[0] == [False]
    macvtap = Device("/dev/tap12", "F6:01", "macvtap0", 30)
    story = Story(libvirt=True).open(path="macvtap0").attach()
    assert check(story, host(qemu(macvtap), links={"macvtap0": MAC})) == ([True], [])


def test_a_vm_that_is_older_than_the_logs() -> None:
    assert check(Story(), host(qemu(TAP)), begin=1000.0)[1] == [
        ("unrecorded_fd", "medium")
    ]


@pytest.mark.parametrize(
    ("before", "after", "findings"),
    [
        (host(links={"t0": None}), None, [("leaked_device", "medium")]),
        (host(qemu(TAP), links={"vt01": None}), None, UNKNOWN),
        (host(other(TAP), links={"vt01": None}), None, [("leaked_device", "low")]),
        # Another process has a copy of a descriptor of the VM.
        (host(qemu(TAP), other(TAP), links={"vt01": None}), None, COPIED),
        (host(other(TAP), qemu(TAP), links={"vt01": None}), None, COPIED),
        # A task that attaches it.
        (
            host(other(TAP), links={"vt01": None}),
            host(qemu(TAP), links={"vt01": None}),
            [],
        ),
        (
            host(other(TAP), links={"vt01": None}),
            host(other(TAP), qemu(TAP), links={"vt01": None}),
            [("leaked_device", "medium")],
        ),
        # The link appears or disappears meanwhile.
        (host(), host(links={"t0": None}), []),
        (host(links={"t0": None}), host(), []),
        (host(links={"vt01": None}), host(qemu(TAP), links={"vt01": None}), []),
        (host(qemu(TAP), links={"vt01": None}), host(links={"vt01": None}), []),
        (host(other(TAP), links={"vt01": None}), host(links={"vt01": None}), []),
    ],
)
def test_links_without_a_vm(
    before: Look, after: Look | None, findings: list[tuple[str, str]]
) -> None:
    assert check(Story(), before, after)[1] == findings


class Audit:
    """A stub for the kernel's audit status."""

    lost = 0

    def __enter__(self) -> Audit:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def status(self) -> Status:
        return Status(enabled=1, pid=1, lost=self.lost, backlog=0, backlog_limit=64)


@pytest.mark.parametrize(("lost", "codes"), [(0, []), (3, ["audit_lost"])])
def test_lost_records(
    lost: int, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Audit, "lost", lost)
    monkeypatch.setattr(compare, "AuditSocket", Audit)
    trail = Trail()
    compare.add_lost(trail.findings, NOW)
    assert [each.code for each in trail.findings.all()] == codes


def placed(*holders: Holder, source: str, filtered: bool | None = None) -> Look:
    look = host(*holders)
    look.places["vt01"] = Place(source, True, filtered)
    return look


@pytest.mark.parametrize(
    ("look", "codes", "unchecked"),
    [
        (placed(qemu(TAP), source="br0", filtered=True), [], []),
        (placed(qemu(TAP), source="br0"), [], [f"{MAC} of VM web01"]),
        (placed(qemu(TAP), source="br1", filtered=True), ["moved_port"], []),
        (placed(qemu(TAP), source="br0", filtered=False), ["missing_filter"], []),
        # Another VM may have a link of that name by now.
        (placed(qemu(), source="br1", filtered=False), ["stale_grant"], []),
    ],
)
def test_a_link_that_differs_from_its_record(
    look: Look, codes: list[str], unchecked: list[str]
) -> None:
    story = Story().open().attach(network=Network("br0", filter="mac"))
    trail = Trail()
    trail.read(story.items, NOW)
    compare.compare(trail, look, look, 0.0, NOW)
    assert [each.code for each in trail.findings.all()] == codes
    assert compare.unchecked_filters(trail, look) == unchecked


UNKNOWN_PLACE = Place(None, True, is_known=False)


@pytest.mark.parametrize(
    ("place", "held", "network", "unchecked"),
    [
        (UNKNOWN_PLACE, [TAP], Network("ovs0"), [f"{MAC} of VM web01"]),
        (Place("ovs0", True), [TAP], Network("ovs0"), []),
        # Nothing is on record that could be checked.
        (UNKNOWN_PLACE, [TAP], None, []),
        (UNKNOWN_PLACE, [], Network("ovs0"), []),
    ],
)
def test_the_switch_does_not_tell_the_bridge(
    place: Place, held: list[Device], network: Network | None, unchecked: list[str]
) -> None:
    trail = Trail()
    trail.read(Story().open().attach(network=network).items, NOW)
    look = host(qemu(*held))
    look.places["vt01"] = place
    compare.compare(trail, look, look, 0.0, NOW)
    assert compare.unchecked_places(trail, look) == unchecked
    assert "moved_port" not in [each.code for each in trail.findings.all()]


@pytest.mark.parametrize(
    ("held", "of_host", "codes"),
    [
        # The descriptor of a tap that was removed has no link. That of a tap in another network namespace has one.
        (Device("/dev/net/tun", "0A:C8", None, 7), True, ["moved_port"]),
        (TAP, True, ["moved_port"]),
        # So it is with a macvtap.
        (Device("/dev/tap12", "0A:C8", None, 7), True, ["moved_port"]),
        # The module does not see the host's links.
        (TAP, False, []),
    ],
)
def test_a_link_that_is_gone(held: Device, of_host: bool, codes: list[str]) -> None:
    trail = Trail()
    trail.read(Story().open().attach(network=Network("br0")).items, NOW)
    look = dataclasses.replace(host(qemu(held)), is_of_host=of_host)
    compare.compare(trail, look, look, 0.0, NOW)
    assert [each.code for each in trail.findings.all()] == codes
