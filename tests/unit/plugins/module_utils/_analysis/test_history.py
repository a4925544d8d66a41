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
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
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


def test_the_history_says_who_held_what_and_when() -> None:
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


ON_BR0 = Network("br0", "42", "address", "192.0.2.7", "yes")
IN_QUARANTINE = Network("br0", "666", isolated="yes", link="down")


def a_fleets_life() -> Story:
    """A NIC is prepared and handed over, quarantined, moved to another bridge, and detached."""
    story = Story().for_ticket("CHG-1").machine_id().open().prepare(ON_BR0)
    story.start(network=ON_BR0).booted().later(100).for_ticket("INC-2")
    story.auid = 2000
    story.update(ON_BR0, IN_QUARANTINE).later(100).for_ticket(None)
    story.update(IN_QUARANTINE, Network("br1", link="up")).later(100)
    return story.for_ticket("CHG-3").detach()


def test_each_network_is_a_row() -> None:
    trail, rows = judge(a_fleets_life())
    assert [
        (row["since"][14:19], row["until"][14:19], row["event"], row["end_event"])
        for row in rows
    ] == [
        ("16:40", "18:20", "1000.000:104", "1100.000:106"),
        ("18:20", "20:00", "1100.000:106", "1200.000:110"),
        ("20:00", "21:40", "1200.000:110", "1300.000:114"),
    ]
    assert [tuple(row["network"].values()) for row in rows] == [
        ("br0", "42", "address", "yes", None),
        ("br0", "666", None, "yes", "down"),
        ("br1", None, None, None, None),
    ]
    assert [row["ticket"] for row in rows] == ["CHG-1", "INC-2", "INC-2"]
    assert [row["auid"] for row in rows] == [1000, 2000, 2000]
    assert {row["ifname"] for row in rows} == {"vt01"}
    assert trail.findings.all() == []
    assert trail.grants() == []


def test_a_network_has_one_form_however_the_nic_came_to_it() -> None:
    story = Story().machine_id().open().prepare(ON_BR0).start(network=ON_BR0)
    story.booted().later(100).update(ON_BR0, IN_QUARANTINE)
    story.later(100).update(IN_QUARANTINE, ON_BR0)
    trail, (first, quarantined, last) = judge(story)
    assert last["network"] == first["network"]
    assert first["network"]["link"] is None
    assert quarantined["network"]["link"] == "down"
    (grant,) = (each.result() for each in trail.grants())
    (session,) = (each.result(False) for each in trail.sessions.values())
    assert grant["network"] == first["network"]
    (nic,) = session["resources"]
    assert nic["network"]["link"] is None


def test_a_grant_has_its_current_network() -> None:
    story = a_fleets_life()
    story.items.pop()
    trail, _rows = judge(story)
    (grant,) = (each.result() for each in trail.grants())
    assert grant["network"]["source"] == "br1"
    assert (grant["ticket"], grant["auid"]) == ("INC-2", 1000)
    assert (grant["since"], grant["event"]) == (
        "1970-01-01T00:16:40.000Z",
        "1000.000:104",
    )


def test_a_session_has_the_ticket_and_the_network() -> None:
    trail, _rows = judge(a_fleets_life())
    (session,) = (each.result(False) for each in trail.sessions.values())
    assert session["ticket"] == "CHG-1"
    (nic,) = session["resources"]
    assert (nic["reason"], nic["resource"], nic["end"]) == (
        "start",
        MAC,
        "1970-01-01T00:21:40.000Z",
    )
    assert nic["network"]["source"] == "br1"


def test_an_update_of_another_value_does_not_change_the_network() -> None:
    story = Story().machine_id().open().start(network=ON_BR0).booted().later(10)
    story.update(ON_BR0, Network(**{**vars(ON_BR0), "addresses": "192.0.2.8"}))
    story.update(Network("br0"), Network("br0", mtu="9000"))
    assert len(judge(story)[1]) == 1


def test_an_update_adds_the_network_that_an_old_hand_over_lacks() -> None:
    story = Story().machine_id().open().start().booted().later(10)
    story.update(Network("br0", "1"), Network("br0", "2"))
    _trail, (before, after) = judge(story)
    assert (before["network"]["vlan"], after["network"]["vlan"]) == ("1", "2")


def test_a_record_that_root_did_not_send_proves_nothing() -> None:
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


def failed_prepare(story: Story) -> tuple[str, str]:
    """Return the severity of the finding, and its text about what followed."""
    (finding,) = (
        each for each in judge(story)[0].findings.all() if each.code == "failed_prepare"
    )
    said = finding.result()["message"]
    assert said.startswith(
        f"The network of {MAC} of VM web01 could not be prepared at 1970-01-01T00:16:40.000Z: its VLAN, filter or"
        " isolation is not in place. The task's result tells the reason. Run the task again."
    )
    return finding.severity, said.partition("Run the task again.")[2].strip()


def test_the_finding_says_what_followed_a_failed_preparation() -> None:
    def begin() -> Story:
        return Story().machine_id().open().open().prepare(ON_BR0, ok=False)

    closed = begin().start(ok=False).close().close(fd=8).booted(ok=False)
    assert failed_prepare(closed) == (
        "medium",
        "Nothing was handed over: its devices were closed by 1970-01-01T00:16:40.000Z (1000.000:107).",
    )
    assert failed_prepare(closed.later(9).machine_id()) == (
        "low",
        "It is over: the VM was started again.",
    )
    again = begin().close().close().later(9).open().prepare(ON_BR0).attach()
    assert failed_prepare(again) == (
        "low",
        "It was prepared at 1970-01-01T00:16:49.000Z (1009.000:108).",
    )
    severity, followed = failed_prepare(begin().start(fds=(7, 8)).booted())
    assert severity == "high"
    assert followed.startswith(
        "It was handed over all the same, at 1970-01-01T00:16:40.000Z (1000.000:105)"
    )


def test_libvirt_says_twice_that_vhost_net_failed() -> None:
    story = Story(libvirt=True).machine_id().open()
    story.open(path="/dev/vhost-net", ok=False).open(
        path="/dev/vhost-net"
    ).start().booted()
    trail, _history = judge(story)
    (grant,) = trail.grants()
    assert [device.path for device in grant.devices] == ["/dev/net/tun"]
    assert [finding.code for finding in trail.findings.all()] == ["failed_open"]
    # A failed open at another start is a failed open of its own. Our own records are clear in this.
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
    # A NIC that comes later without an open is another NIC.
    story = Story(libvirt=True).machine_id().open().start().booted().later(60)
    trail, _history = judge(story.detach().later(60).attach())
    assert [len(grant.devices) for grant in trail.grants()] == [0]
