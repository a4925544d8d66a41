# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.history import (
    History,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import Logged
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

OTHER = "52:54:00:00:00:02"
NOW = 9_999_999.0


def judge(story: Story, **asked: float) -> tuple[Trail, list[dict[str, t.Any]]]:
    history = History(asked.get("since"), asked.get("until"))
    trail = Trail(history=history)
    trail.read(story.items, NOW)
    return trail, [held.result() for held in history.all(trail.grants())]


def spans(story: Story, **asked: float) -> list[tuple[str, str, str | None]]:
    return [
        (held["mac"][-2:], held["event"], held["end_event"])
        for held in judge(story, **asked)[1]
    ]


def a_life() -> Story:
    story = Story().machine_id().open().start().booted().later(100)
    story.open(OTHER).attach(OTHER).later(100).detach(OTHER).later(100).stop()
    return story.later(100).machine_id().open().start().booted()


def test_who_held_what_from_when_to_when() -> None:
    assert spans(a_life()) == [
        ("01", "1000.000:103", "1300.000:108"),
        ("02", "1100.000:106", "1200.000:107"),
        ("01", "1400.000:111", None),
    ]
    _trail, (first, *_rest) = judge(a_life())
    assert (first["ifname"], first["auid"], first["ticket"], first["network"]) == (
        "vt01",
        1000,
        None,
        None,
    )
    assert (first["since"], first["until"]) == (
        "1970-01-01T00:16:40.000Z",
        "1970-01-01T00:21:40.000Z",
    )


def test_within_a_time() -> None:
    assert [mac for mac, *_events in spans(a_life(), since=1250.0)] == ["01", "01"]
    assert [mac for mac, *_events in spans(a_life(), until=1050.0)] == ["01"]
    assert spans(a_life(), since=1310.0, until=1390.0) == []


@pytest.mark.parametrize("end", ["host_boots", "reboot_unseen", "machine_id", "closed"])
def test_an_end_without_a_detach(end: str) -> None:
    story = Story().machine_id().open().start().booted().later(50)
    if end == "closed":
        story.close(fd=7)
    else:
        getattr(story, end)()
        story.later(10).open(OTHER)
    (held,) = judge(story)[1]
    assert held["until"] is not None
    assert held["end_event"] is not None


def test_the_network() -> None:
    story = Story().machine_id().open().start().booted().later(10)
    started = story.items[2]
    assert isinstance(started, Logged)
    fields = t.cast("dict[str, str | None]", started.record.fields)
    fields.update(
        {"source": "br0", "vlan": "42", "filter": "address", "ticket": "CHG-1"}
    )
    story.other(
        resrc="net",
        reason="update",
        net=MAC,
        **{"old-source": "br0", "new-source": "br1"},
    ).later(10)
    story.other(
        resrc="net", reason="update", net=MAC, res="failed", **{"new-source": "br9"}
    )
    trail, (before, after) = judge(story)
    (grant,) = trail.grants()
    network = {
        "source": "br1",
        "vlan": "42",
        "filter": "address",
        "isolated": None,
        "link": None,
    }
    assert grant.result()["network"] == network
    assert (grant.result()["ticket"], grant.event) == ("CHG-1", "1000.000:103")
    assert before["network"] == {**network, "source": "br0"}
    assert after["network"] == network
    assert before["until"] == after["since"] == "1970-01-01T00:16:50.000Z"
    assert before["end_event"] == after["event"] == "1010.000:105"
    assert (after["ticket"], after["until"]) == ("CHG-1", None)


def test_what_not_root_sent_proves_nothing() -> None:
    story = Story().machine_id().open().start().booted().later(10)
    for forged in (story.detach, story.stop, story.machine_id):
        forged()
        logged = story.items[-1]
        assert isinstance(logged, Logged)
        logged.uid = 1000
    trail, (held,) = judge(story)
    assert [grant.mac for grant in trail.grants()] == [MAC]
    assert held["until"] is None
    (finding,) = trail.findings.all()
    assert (finding.code, finding.severity, finding.count) == (
        "untrusted_record",
        "high",
        3,
    )
    assert [session.end for session in trail.sessions.values()] == ["running"]


def test_a_preparation_that_failed() -> None:
    story = (
        Story()
        .machine_id()
        .open()
        .other(resrc="net", reason="prepare", net=MAC, dev="vt01", res="failed")
    )
    codes = {finding.code for finding in judge(story)[0].findings.all()}
    assert codes == {"failed_prepare", "unclaimed_open"}


def test_libvirt_says_twice_that_vhost_net_failed() -> None:
    story = Story(libvirt=True).machine_id().open()
    story.open(path="/dev/vhost-net", ok=False).open(
        path="/dev/vhost-net"
    ).start().booted()
    trail, _history = judge(story)
    (grant,) = trail.grants()
    assert [device.path for device in grant.devices] == ["/dev/net/tun"]
    assert [finding.code for finding in trail.findings.all()] == ["failed_open"]
    # A later one is another one, and ours says what is.
    later = (
        Story(libvirt=True).machine_id().open().open(path="/dev/vhost-net", ok=False)
    )
    later.later(5).open(path="/dev/vhost-net").start().booted()
    assert [len(grant.devices) for grant in judge(later)[0].grants()] == [2]
    ours = Story().machine_id().open().open(path="/dev/vhost-net", ok=False)
    ours.open(path="/dev/vhost-net").start(fds=(7, 8)).booted()
    assert [len(grant.devices) for grant in judge(ours)[0].grants()] == [2]


def test_libvirt_moves_a_nic_to_another_bridge() -> None:
    story = (
        Story(libvirt=True)
        .machine_id()
        .open()
        .open(path="/dev/vhost-net")
        .start()
        .booted()
        .later(60)
    )
    trail, history = judge(story.detach().attach())
    (grant,) = trail.grants()
    assert [device.path for device in grant.devices] == [
        "/dev/net/tun",
        "/dev/vhost-net",
    ]
    assert [held["until"] is None for held in history] == [False, True]
    # A NIC that comes later, and without an open, is another one.
    story = Story(libvirt=True).machine_id().open().start().booted().later(60)
    trail, _history = judge(story.detach().later(60).attach())
    assert [len(grant.devices) for grant in trail.grants()] == [0]
