# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.kernel import (
    KernelOpen,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

TAP, VHOST, VDPA = "/dev/tap12", "/dev/vhost-net", "/dev/vhost-vdpa-0"

# what, records, the pids of the opens that nobody recorded
STORIES: list[tuple[str, Story, list[int | None]]] = [
    ("recorded", Story().kernel().open().attach(), []),
    ("not recorded", Story().kernel(pid=77), [77]),
    ("by another process", Story().kernel(pid=77).open(pid=50).attach(), [77]),
    ("another device", Story().kernel(VHOST, kind="vhost").open().attach(), [50]),
    ("too long ago", Story().kernel().later(11).open().attach(), [50]),
    (
        "two queues, two records",
        Story().kernel().open().kernel().open().attach(fds=[1, 2]),
        [],
    ),
    ("two opens, one record", Story().kernel().kernel().open().attach(), [50]),
    (
        "libvirt: one record for all queues",
        Story(libvirt=True).kernel().kernel().kernel().open().attach(),
        [],
    ),
    (
        "libvirt's macvtap has the interface for a path",
        Story(libvirt=True).kernel(TAP, kind="macvtap").open(path="macvtap0").attach(),
        [],
    ),
    ("a vdpa device", Story().kernel(VDPA, kind="vdpa").open(path=VDPA).attach(), []),
    (
        "libvirt's vdpa device",
        Story(libvirt=True).kernel(VDPA, kind="vdpa").open(path=VDPA).attach(),
        [],
    ),
    ("a vdpa device, by hand", Story().kernel(VDPA, kind="vdpa", pid=77), [77]),
    (
        "a vdpa device, and a record of another device",
        Story().kernel(VDPA, kind="vdpa").open().attach(),
        [50],
    ),
    ("with the TUNSETIFF", Story().kernel().kernel(None).open().attach(), []),
    (
        "the record before the TUNSETIFF",
        Story().kernel().open().kernel(None).attach(),
        [],
    ),
    ("by hand, with the TUNSETIFF", Story().kernel(pid=77).kernel(None, pid=77), [77]),
    ("through a node of its own", Story().kernel(None, pid=77), [77]),
    (
        "only the rule for TUNSETIFF",
        Story().open().kernel(None).later(60).attach(),
        [],
    ),
    (
        "many, long ago",
        Story().kernel(pid=1).later(99).kernel(pid=2).later(99).kernel(pid=3),
        [1, 2, 3],
    ),
    ("on another node", Story(node="hv1").kernel(), [50]),
]


@pytest.mark.parametrize(
    ("story", "pids"), [each[1:] for each in STORIES], ids=[each[0] for each in STORIES]
)
def test_story(story: Story, pids: list[int | None]) -> None:
    trail = Trail()
    trail.read(story.items, 9_999_999.0)
    found = [each for each in trail.findings.all() if each.code == "unrecorded_open"]
    assert [each.pid for each in found] == pids
    assert {each.severity for each in found} <= {"high"}


def test_the_finding_names_who_did_it() -> None:
    trail = Trail()
    trail.read(Story().kernel(pid=77, exe="/usr/bin/ip").items, 9_999_999.0)
    (finding,) = trail.findings.all()
    assert (finding.exe, finding.auid, finding.time) == ("/usr/bin/ip", 1000, 1000.0)
    assert (finding.fd, finding.path, finding.events) == (
        9,
        "/dev/net/tun",
        ["1000.000:101"],
    )
    for word in ("/usr/bin/ip", "pid 77", "auid 1000", "1970-01-01T00:16:40.000Z"):
        assert word in finding.message


def test_a_node_whose_name_is_not_on_record() -> None:
    trail = Trail()
    (item,) = Story().kernel().items
    assert isinstance(item, KernelOpen)
    trail.read([dataclasses.replace(item, path=None)], 9_999_999.0)
    (finding,) = trail.findings.all()
    assert "opened a tap node at" in finding.message


def test_a_failed_open_is_low() -> None:
    trail = Trail()
    trail.read(Story().kernel(fd=None).items, 9_999_999.0)
    assert [each.severity for each in trail.findings.all()] == ["low"]


def test_a_record_may_still_come() -> None:
    trail = Trail()
    trail.read(Story().kernel().items, 1001.0)
    assert trail.findings.all() == []


def test_the_clocks_of_two_hosts_are_apart() -> None:
    one = Story(node="hv1").kernel().open()
    two = Story(node="hv2").later(3600).kernel().open()
    trail = Trail()
    for pair in zip(one.items, two.items):
        for item in pair:
            trail.take(item)
    trail.finish(9_999.0)
    assert {each.code for each in trail.findings.all()} == {"unclaimed_open"}
