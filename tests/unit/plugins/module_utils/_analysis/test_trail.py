# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import items, recall
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.given import (
    given_logs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import Logged
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.wanted import Wanted
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.logs import logs_of
from ansible_collections.virtaudit.qemu.tests.unit.support.reference import LIBVIRT_LOG
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

OTHER = "52:54:00:00:00:02"
UUID2 = "c1e2f3a4-0001-4000-8000-000000000022"
VHOST = "/dev/vhost-net"
NOW = 9_999_999.0


def judge(
    items: t.Iterable[items.Item], now: float = NOW, since: float | None = None
) -> tuple[list[tuple[str, str, list[str | int | None]]], list[str]]:
    """Return (uuid, mac, fds) of each grant, and the code of each finding."""
    trail = Trail(since)
    trail.read(items, now)
    grants: list[tuple[str, str, list[str | int | None]]] = [
        (grant.uuid, grant.mac, [device.fd for device in grant.devices])
        for grant in trail.grants()
    ]
    return grants, sorted(finding.code for finding in trail.findings.all())


HELD: list[tuple[str, str, list[t.Any]]] = [(UUID, MAC, [7])]
LIBVIRTS: list[tuple[str, str, list[t.Any]]] = [(UUID, MAC, [None])]


def ours() -> Story:
    return Story().machine_id()


def theirs() -> Story:
    return Story(libvirt=True).machine_id()


# what, records, grants, findings
STORIES: list[tuple[str, Story, list[tuple[str, str, list[t.Any]]], list[str]]] = [
    ("nothing", Story(), [], []),
    ("cold start", ours().open().start().booted(), HELD, []),
    ("hot-plug", Story().open().attach(), HELD, []),
    (
        "a NIC that was moved and closed in part",
        Story()
        .open()
        .open(path=VHOST)
        .attach(fds=(7, 8))
        .update(Network("br0"), Network("br1"))
        .later(60)
        .close(path=VHOST, fd=8),
        HELD,
        [],
    ),
    (
        "a NIC that was moved and closed",
        Story()
        .open()
        .open(path=VHOST)
        .attach(fds=(7, 8))
        .update(Network("br0"), Network("br1"))
        .later(60)
        .close(path=VHOST, fd=8)
        .close(fd=7),
        [],
        [],
    ),
    (
        "libvirt attaches without the vhost-net of an attach that failed",
        theirs()
        .booted()
        .open()
        .open(path=VHOST)
        .attach(ok=False)
        .later(60)
        .open()
        .attach(),
        LIBVIRTS,
        ["failed_start"],
    ),
    (
        "two queues and vhost",
        Story()
        .open()
        .open()
        .open(path=VHOST)
        .open(path=VHOST)
        .attach(fds=[1, 2, 3, 4]),
        [(UUID, MAC, [1, 2, 3, 4])],
        [],
    ),
    ("detached", Story().open().attach().detach().close(fd=7), [], []),
    ("stopped", ours().open().start().booted().stop().detach().close(fd=7), [], []),
    ("stopped, without a detach", theirs().open().start().booted().stop(), [], []),
    ("a stop that failed", ours().open().start().booted().stop(ok=False), HELD, []),
    (
        "no start on record",
        Story().attach(fds=[7, 8]),
        [(UUID, MAC, [7, 8])],
        [],
    ),
    (
        "libvirt, four queues in one record",
        theirs().open().open(path=VHOST).start().booted(),
        [(UUID, MAC, [None, None])],
        [],
    ),
    ("open, not handed over", Story().open(), [], ["unclaimed_open"]),
    (
        "the packet filter failed, the second try did not",
        Story().open().later(1).open().attach(),
        HELD,
        ["unclaimed_open"],
    ),
    (
        "the same of libvirt",
        theirs().start(OTHER).booted().open().later(1).open().attach(),
        [(UUID, OTHER, []), (UUID, MAC, [None])],
        ["unclaimed_open"],
    ),
    (
        "the same of libvirt's macvtap, which has a new name then",
        Story(libvirt=True).open(path="macvtap1").open(path="macvtap2").attach(),
        LIBVIRTS,
        ["unclaimed_open"],
    ),
    ("opened and closed", Story().open().close(), [], []),
    (
        "opened for one that is never handed over, then the VM stops",
        ours().start().booted().open(OTHER).stop(),
        [],
        ["unclaimed_open"],
    ),
    (
        "opened for one that the start left out",
        theirs().open().open(OTHER).start().booted(),
        LIBVIRTS,
        ["unclaimed_open"],
    ),
    ("an open that failed", Story().open(ok=False), [], ["failed_open"]),
    (
        "vhost-net that failed",
        Story().open().open(path=VHOST, ok=False).attach(),
        HELD,
        ["failed_open"],
    ),
    (
        "a start that failed",
        ours().open().start(ok=False).booted(ok=False).close(),
        [],
        ["failed_start"],
    ),
    (
        "a start that failed, of which libvirt says success for each NIC",
        theirs().open().open(OTHER).start().start(OTHER).booted(ok=False),
        [],
        ["failed_start"],
    ),
    (
        "a start that was cut off",
        ours().open().start(ok=False).close(),
        [],
        ["failed_start"],
    ),
    (
        "a hot-plug that failed, with one that did not",
        Story().open(OTHER).attach(OTHER).open().attach(ok=False).close(),
        [(UUID, OTHER, [7])],
        ["failed_start"],
    ),
    (
        "a hot-plug that failed, of which libvirt closes without a record",
        Story(libvirt=True).open().attach(ok=False).open().attach(),
        LIBVIRTS,
        ["failed_start"],
    ),
    (
        "a detach that failed",
        Story().open().attach().detach(ok=False),
        HELD,
        ["failed_detach"],
    ),
    (
        "a detach that failed first",
        Story().open().attach().detach(ok=False).detach().close(fd=7),
        [],
        ["failed_detach"],
    ),
    (
        "restarted with the same UUID and no stop",
        ours()
        .open()
        .start()
        .booted()
        .later(9)
        .machine_id()
        .open(OTHER)
        .start(OTHER)
        .booted(),
        [(UUID, OTHER, [7])],
        [],
    ),
    (
        "the same, and no machine id",
        Story().open().start().booted().later(9).open(OTHER).start(OTHER).booted(),
        [(UUID, OTHER, [7])],
        [],
    ),
    (
        "hot-plugged after a start",
        ours().open().start().booted().open(OTHER).attach(OTHER, fds=[8]),
        [(UUID, MAC, [7]), (UUID, OTHER, [8])],
        [],
    ),
    (
        "attached anew, and no detach",
        Story(libvirt=True).open().attach().later(60).open().attach(),
        LIBVIRTS,
        [],
    ),
    ("the host booted", ours().open().start().booted().host_boots(), [], []),
    (
        "the host booted, and nothing says so but the serial numbers",
        ours().open().start().booted().reboot_unseen().vm("x", UUID2).open().attach(),
        [(UUID2, MAC, [7])],
        [],
    ),
    (
        "the MAC is used again by another VM",
        Story().open().attach().detach().vm("x", UUID2).open().attach(),
        [(UUID2, MAC, [7])],
        [],
    ),
    (
        "two VMs with one MAC, and one lets go",
        Story().open().attach().vm("x", UUID2).open().attach(fds=[9]).detach(),
        HELD,
        [],
    ),
    (
        "one queue closed and the grant still there",
        Story().open().open().attach(fds=[7, 8]).close(fd=8),
        HELD,
        [],
    ),
    (
        "all queues closed, and no detach on record",
        Story().open().open().attach(fds=[7, 8]).close(fd=8).close(fd=7),
        [],
        [],
    ),
    (
        "the same, and no open either",
        Story().attach(fds=[7, 8]).close(fd=8).close(fd=7),
        [],
        [],
    ),
    (
        "the same after a detach that failed",
        Story().open().attach().detach(ok=False).close(fd=7),
        [],
        ["failed_detach"],
    ),
    (
        "closed by its number, of which no hand-over is on record",
        Story().open().close(fd=7),
        [],
        [],
    ),
    (
        "the clock was set back",
        Story().open().attach().later(-900).open(OTHER).attach(OTHER, fds=[8]).detach(),
        [(UUID, OTHER, [8])],
        [],
    ),
    (
        "libvirt gave it another network",
        Story(libvirt=True)
        .attach()
        .open(OTHER)
        .other(
            **{"resrc": "net", "reason": "update", "old-net": MAC, "new-net": OTHER}
        ),
        [(UUID, OTHER, [None])],
        [],
    ),
    (
        "records that name no VM or no MAC",
        Story()
        .other(uuid=None, resrc="net", reason="attach")
        .other(resrc="net")
        .other(**{"resrc": "net", "reason": "attach", "new-net": "x y"}),
        [],
        [],
    ),
]


@pytest.mark.parametrize(
    ("story", "grants", "codes"),
    [story[1:] for story in STORIES],
    ids=[story[0] for story in STORIES],
)
def test_story(
    story: Story, grants: list[tuple[str, str, list[t.Any]]], codes: list[str]
) -> None:
    assert judge(story.items) == (grants, codes)


def test_a_close_with_a_number_ends_the_device_that_was_handed_over() -> None:
    story = Story().open().open().attach(fds=[7, 8]).open()
    trail = Trail()
    trail.read(story.close(fd=7).items, NOW)
    (grant,) = trail.grants()
    assert [device.fd for device in grant.devices] == [8]
    assert [each.code for each in trail.findings.all()] == ["unclaimed_open"]


ISOLATED = Network("br0", vlan="42", filter="mac", isolated="yes")


@pytest.mark.parametrize("details", [True, False])
@pytest.mark.parametrize(
    "story",
    [
        ours().open().prepare(ISOLATED).start(network=ISOLATED).booted(),
        ours().booted().open().prepare(ISOLATED).attach(network=ISOLATED),
    ],
)
def test_a_session_and_a_grant_have_the_same_network(
    story: Story, details: bool
) -> None:
    trail = Trail(details=details)
    trail.read(story.items, NOW)
    (grant,), (session,) = trail.grants(), trail.sessions.values()
    nic = session.resources[-1]
    assert nic.network == grant.network
    assert (nic.network or {})["isolated"] == "yes"


def test_the_network_of_a_nic_that_was_not_handed_over() -> None:
    story = ours().booted().open().attach(network=Network("br0"))
    story.open().prepare(ISOLATED).attach(ok=False, network=Network("br1"))
    trail = Trail()
    trail.read(story.items, NOW)
    networks = [
        each.network or {}
        for session in trail.sessions.values()
        for each in session.resources
    ]
    assert [network["source"] for network in networks] == ["br0", "br1"]


def test_an_open_may_still_be_handed_over() -> None:
    story = Story().open()
    assert judge(story.items, now=1059.0)[1] == []
    assert judge(story.items, now=1060.0)[1] == ["unclaimed_open"]
    # No daemon is writing a log that ends in the future.
    assert judge(story.items, now=900.0)[1] == ["unclaimed_open"]


def test_a_failed_start_names_its_events_once() -> None:
    trail = Trail()
    story = ours().open().start(ok=False).start(OTHER, ok=False).booted(ok=False)
    trail.read(story.items, NOW)
    (finding,) = trail.findings.all()
    assert finding.events == ["1000.000:103", "1000.000:104", "1000.000:105"]
    assert f"{MAC}, {OTHER}" in finding.message


def test_a_finding_that_is_over_is_low() -> None:
    trail = Trail()
    story = Story().open().attach().detach(ok=False).later(5).detach()
    trail.read(story.items, NOW)
    (result,) = [finding.result() for finding in trail.findings.all()]
    assert result["severity"] == "low"
    assert result["message"].endswith(
        "It was detached at 1970-01-01T00:16:45.000Z (1005.000:104)."
    )
    assert result["mac"] == MAC


def test_a_finding_that_comes_back_is_no_longer_over() -> None:
    trail = Trail()
    story = Story().open().attach().detach(ok=False).detach()
    trail.read(story.later(5).open().attach().detach(ok=False).items, NOW)
    (result,) = [finding.result() for finding in trail.findings.all()]
    assert result["severity"] == "medium"
    assert "came up 2 times" in result["message"]
    assert "It was detached" not in result["message"]


def test_a_finding_that_comes_back_is_counted() -> None:
    story = Story()
    for _try in range(50):
        story.later(10).open(ok=False)
    trail = Trail()
    trail.read(story.items, NOW)
    (result,) = [finding.result() for finding in trail.findings.all()]
    assert "50 times, the last time 1970-01-01T00:25:00.000Z" in result["message"]
    assert len(result["events"]) == 20


def test_since_leaves_out_findings_and_no_grants() -> None:
    story = (
        ours().open(ok=False).open().start().booted().later(100).open(OTHER, ok=False)
    )
    assert judge(story.items, since=1050.0) == (HELD, ["failed_open"])
    trail = Trail(since=1050.0)
    trail.read([*story.items, *Story("x", UUID2).booted().stop().items], NOW)
    # A session that still runs is in the time that the task asks for.
    assert [session.uuid for session in trail.sessions.values()] == [UUID]


@pytest.mark.parametrize("ending", ["host_boots", "machine_id", "booted"])
def test_since_leaves_out_sessions_that_were_lost_before(ending: str) -> None:
    story = ours().start().booted().later(50)
    getattr(story, ending)()
    first, *_later = by_since(story, None)
    assert first == "lost"
    assert by_since(story, 1060.0) == by_since(story, None)[1:]
    # The session is in the time that the task asks for.
    assert by_since(story, 1010.0) == by_since(story, None)


def by_since(story: Story, since: float | None) -> list[str]:
    trail = Trail(since)
    trail.read(story.items, NOW)
    return [session.end for session in trail.sessions.values()]


def test_nodes_are_apart() -> None:
    one, two = Story(node="hv1").open().attach(), Story(node="hv2").open().attach()
    two.later(1).detach()
    assert judge([*one.items, *two.items])[0] == HELD
    booted = Story(node="hv2").later(50).host_boots()
    assert judge([*one.items, *booted.items])[0] == HELD


def test_a_log_that_is_read_twice() -> None:
    story = ours().open().start().booted().open(OTHER, ok=False).later(99).stop()
    trail = Trail()
    trail.read([*story.items, *story.items], NOW)
    assert trail.grants() == []
    assert len(trail.sessions) == 1
    (finding,) = trail.findings.all()
    assert finding.count == 1


def libvirts(until: float | None = None) -> Trail:
    trail = Trail(details=True)
    with given_logs([str(LIBVIRT_LOG)]) as (logs, unread):
        wanted = Wanted(until=until)
        trail.read(recall.read_all(logs_of(logs, unread), wanted, True), NOW)
    assert not unread
    return trail


def test_libvirts_own_records_while_the_vm_runs() -> None:
    trail = libvirts(until=1795420512.0)
    mac = "52:54:00:00:11:0"
    assert [
        (grant.mac, [(each.path, each.event) for each in grant.devices])
        for grant in trail.grants()
    ] == [
        (f"{mac}1", [("/dev/net/tun", "1795420505.795:180")]),
        (f"{mac}2", [("macvtap2", "1795420505.803:181")]),
        # Four queues in one record. The unplug failed and was never recorded.
        (f"{mac}4", [("/dev/net/tun", "1795420506.431:202")]),
        (f"{mac}5", [("/dev/net/tun", "1795420506.511:205")]),
    ]
    assert [(each.code, each.mac) for each in trail.findings.all()] == [
        ("failed_open", f"{mac}6")
    ]
    assert {(grant.vm, grant.auid, grant.exe) for grant in trail.grants()} == {
        ("db01", None, "/usr/sbin/libvirtd")
    }


def test_records_that_changed_places_are_no_reboot(tmp_path: Path) -> None:
    # The last two records without the stop. They were made five seconds apart.
    lines = LIBVIRT_LOG.read_bytes().splitlines(keepends=True)[:-1]
    wanted, _codes = judge(read_from(write(tmp_path / "a", lines)))
    lines[-2:] = lines[:-3:-1]
    assert len(wanted) == 4
    assert judge(read_from(write(tmp_path / "b", lines)))[0] == wanted


def test_a_slow_hand_over_is_no_reboot() -> None:
    story = ours().open().later(10).start().later(10).booted().later(10)
    items = story.open(OTHER).later(10).attach(OTHER).items
    for first in range(len(items) - 1):
        shaken = [*items[:first], items[first + 1], items[first], *items[first + 2 :]]
        assert len(judge(shaken)[0]) == 2


def write(path: Path, lines: list[bytes]) -> str:
    path.write_bytes(b"".join(lines))
    return str(path)


def read_from(path: str) -> list[items.Item]:
    with given_logs([path]) as (logs, unread):
        return list(recall.read_all(logs_of(logs, unread), Wanted(), False))


def test_libvirts_own_records_after_the_stop() -> None:
    trail = libvirts()
    assert trail.grants() == []
    assert [each.code for each in trail.findings.all()] == ["failed_open"]
    (session,) = (each.result(True) for each in trail.sessions.values())
    assert (session["vm"], session["user"], session["end"]) == (
        "db01",
        "root",
        "stopped",
    )
    assert (session["start"], session["stop"], session["reason"]) == (
        "2026-11-23T07:55:06.303Z",
        "2026-11-23T07:55:13.651Z",
        "destroyed",
    )
    kinds = [each["type"] for each in session["resources"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "net": 11,
        "cgroup": 9,
        "mem": 1,
        "vcpu": 1,
    }
    opens = [each for each in session["resources"] if each["reason"] == "open"]
    assert len(opens) == 6


def test_a_user_who_sends_records_about_many_vms() -> None:
    story = Story()
    for number in range(5000):
        story.node = f"hv{number}"
        story.vm("x", f"{UUID[:-4]}{number:04d}").forged()
    story.vm("db", UUID).open(ok=False)
    trail = Trail()
    trail.read(story.items, 9_999_999.0)
    found = [each for each in trail.findings.all() if each.code == "untrusted_record"]
    assert len(found) == 101
    assert (found[-1].vm, found[-1].uuid, found[-1].count) == (None, None, 4900)
    assert "This finding stands for all further records" in found[-1].message
    assert len(json.dumps([each.result() for each in found])) < 100_000
    assert "failed_open" in [each.code for each in trail.findings.all()]


def test_a_vm_has_the_level_of_its_last_start() -> None:
    story = Story()

    def start(number: int, level: int) -> None:
        story.vm(f"vm{number}", f"{UUID[:-1]}{number}").machine_id().booted()
        logged = t.cast(Logged, story.items[-2])
        context = f"system_u:system_r:svirt_t:s0:c{level},c900"
        record = Record("VIRT_MACHINE_ID", {**logged.record.fields, "vm-ctx": context})
        story.items[-2] = dataclasses.replace(logged, record=record)

    def accused(level: int) -> list[str | None]:
        trail = Trail(details=True)
        text = f'scontext=system_u:system_r:svirt_t:s0:c{level},c900 name="x"'
        alert = items.Alert(
            f"{story.time}.000:9999", float(story.time), None, "AVC", text
        )
        trail.read([*story.items, alert], NOW)
        return [each.vm for each in trail.sessions.values() if each.alerts]

    start(1, 1)
    assert accused(1) == ["vm1"]
    start(1, 2)
    assert (accused(1), accused(2)) == ([], ["vm1"])
    start(2, 1)
    start(1, 3)
    assert [accused(level) for level in (1, 2, 3)] == [["vm2"], [], ["vm1"]]
    start(2, 3)
    start(1, 4)
    assert [accused(level) for level in (1, 3, 4)] == [[], ["vm2"], ["vm1"]]
