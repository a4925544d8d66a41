# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task rebuilds a note that it cannot read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import (
    companion,
    other_vms,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import (
    rebuild,
    statedir,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.find import find_vm
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_target,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    a_program,
    process_of,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    DEAD,
    a_base,
    a_kernel,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

ORIGIN = Origin("/usr/bin/python3", None, None)
OTHER = "52:54:00:00:00:02"
VHOST = "/dev/vhost-net"


@pytest.fixture(name="state", autouse=True)
def fixture_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VmState:
    """A VM that was started, and whose note is damaged."""
    directory = a_base(tmp_path, monkeypatch) / UUID
    directory.mkdir()
    (directory / "state.json").write_text('{"version": 1, "name": "we')
    (directory / "qmp.sock").touch()
    a_log(monkeypatch, booted())
    return VmState(UUID)


def booted() -> Story:
    story = Story().machine_id().open().open(path=VHOST).open(OTHER)
    return story.start(fds=(31, 32)).start(OTHER, fds=(33,)).booted(pid=DEAD["pid"])


def test_a_record_without_a_mac_makes_no_nic(
    state: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_log(monkeypatch, booted().open("x res=success"))
    note = rebuild.read_note(state, write=True)
    assert note is not None
    assert [*note.interfaces] == [MAC, OTHER]
    assert state.load() == note


def a_log(monkeypatch: pytest.MonkeyPatch, story: Story) -> None:
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: story.items)


def test_from_the_log(state: VmState) -> None:
    note = rebuild.read_note(state, write=True)
    assert note is not None
    assert (note.name, note.virt, note.started, note.booting) == (
        "web01",
        "kvm",
        True,
        False,
    )
    assert note.pid == DEAD["pid"]
    # The repair finds out what was under way.
    assert note.busy is not None
    assert {mac: nic.phase for mac, nic in note.interfaces.items()} == {
        MAC: "held",
        OTHER: "held",
    }
    assert note.interfaces[MAC].devices == [
        Device("/dev/net/tun", "0A:C8", "vt01", 31, "1000.000:102"),
        Device(VHOST, "0A:C8", "vt01", 32, "1000.000:103"),
    ]
    assert (note.interfaces[MAC].ifname, note.interfaces[MAC].queues) == ("vt01", 1)
    assert state.load() == note
    kept = Path(state.path, "state.json.unreadable").read_text()
    assert kept == '{"version": 1, "name": "we'


def test_the_network_of_a_nic(state: VmState, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Network("br0", vlan="42", filter="address", addresses="192.0.2.7")
    story = Story().machine_id().open().prepare(first).start(fds=(31,), network=first)
    story.update(first, Network("br1", vlan="42", filter="mac"))
    a_log(monkeypatch, story.booted(pid=DEAD["pid"]))
    note = rebuild.read_note(state, write=False)
    assert note is not None
    network = note.interfaces[MAC].network
    assert (network.vlan, network.filter, network.addresses) == ("42", "mac", None)


TAGGED, PLAIN = Network("br0", vlan="42", isolated="yes"), Network("br0")


@pytest.mark.parametrize(
    ("story", "network"),
    [
        (booted().attach(network=TAGGED).detach().close().open().attach(network=PLAIN), PLAIN),
        # The record of the detach got lost.
        (booted().attach(network=TAGGED).open().attach(network=PLAIN), PLAIN),
        # The hand-over failed, or there was none.
        (Story().open().prepare(TAGGED).attach(ok=False).close().open().attach(network=PLAIN), PLAIN),
        (Story().open().prepare(TAGGED).close().open().attach(network=PLAIN), PLAIN),
        (Story().open().prepare(TAGGED).attach(network=TAGGED), TAGGED),
        (Story().open().prepare(TAGGED).attach(network=TAGGED).detach(ok=False), TAGGED),
        (Story().open().attach(network=PLAIN).detach().close().open().prepare(TAGGED), TAGGED),
        (Story().open().attach(network=PLAIN).update(PLAIN, TAGGED).open(), TAGGED),
    ],
)  # fmt: skip
def test_only_the_last_hand_over_tells_the_network(
    state: VmState, monkeypatch: pytest.MonkeyPatch, story: Story, network: Network
) -> None:
    a_log(monkeypatch, story)
    note = rebuild.read_note(state, write=False)
    assert note is not None
    assert note.interfaces[MAC].network == network


def test_without_writing(state: VmState) -> None:
    assert rebuild.read_note(state, write=False) is not None
    assert sorted(path.name for path in Path(state.path).iterdir()) == [
        "qmp.sock",
        "state.json",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="a VM's process is root's")
def test_the_process_that_runs(state: VmState, start: Start, tmp_path: Path) -> None:
    program = a_program(tmp_path / "qemu-system-x86_64")
    child = process_of(start("-uuid", UUID, program=program))
    note = rebuild.read_note(state, write=False)
    assert note is not None
    assert (note.pid, note.start_time) == (child.pid, child.start_time)


@pytest.mark.parametrize("later", [True, False])
def test_the_pid_on_record_belongs_to_a_process_that_is_older_than_the_record(
    state: VmState, monkeypatch: pytest.MonkeyPatch, start: Start, later: bool
) -> None:
    child = process_of(start(name="emulator"))
    story = Story().later(int(time.time()) - (990 if later else 4600))
    story.machine_id().open().start(fds=(31,)).booted(pid=child.pid)
    a_log(monkeypatch, story)
    note = rebuild.read_note(state, write=False)
    assert note is not None
    assert note.pid == child.pid
    assert (note.start_time == child.start_time) is later


@pytest.mark.parametrize(
    ("story", "phases", "booting"),
    [
        (Story().machine_id().open(), {MAC: "opening"}, True),
        (booted().open(MAC), {MAC: "held", OTHER: "held"}, False),
        (booted().detach().close().close(path=VHOST), {OTHER: "held"}, False),
        (booted().detach(ok=False), {MAC: "held", OTHER: "held"}, False),
        (booted().open("52:54:00:00:00:03").attach("52:54:00:00:00:03", ok=False),
         {MAC: "held", OTHER: "held", "52:54:00:00:00:03": "opening"}, False),
    ],
)  # fmt: skip
def test_a_task_that_was_under_way(
    state: VmState,
    monkeypatch: pytest.MonkeyPatch,
    story: Story,
    phases: dict[str, str],
    booting: bool,
) -> None:
    a_log(monkeypatch, story)
    note = rebuild.read_note(state, write=False)
    assert note is not None
    assert {mac: nic.phase for mac, nic in note.interfaces.items()} == phases
    assert note.booting is booting


def test_nothing_is_known(state: VmState, monkeypatch: pytest.MonkeyPatch) -> None:
    a_log(monkeypatch, Story())
    assert rebuild.read_note(state, write=True) is None
    assert not state.has_unreadable()
    assert rebuild.read_note(state, write=True) is None


ENDED = ["stop crashed", "detach", "close", "close", "detach", "close"]


def test_the_next_task_of_another_vm_records_the_end(
    state: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    with Auditor("off") as auditor:
        report = Report(auditor)
        other_vms.settle_other_vms("another", report, ORIGIN, False)
    assert told(kernel) == ENDED
    assert not Path(state.path).exists()
    assert "its end is on record now, late" in report.warnings[0]


def test_the_companion_records_the_end(
    state: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    process = Process(**DEAD)
    assert "6 records written" in companion._see_to(state, process)
    assert told(kernel) == ENDED
    assert not Path(state.path).exists()


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_task_warns_about_a_rebuilt_note(
    state: VmState, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    before = {path.name for path in Path(state.path).iterdir()}
    warnings: list[str] = []
    with find_vm(a_target(), check_mode, warnings) as looked:
        assert looked.note is not None
    assert "the audit log and /proc tell" in warnings[0]
    after = {path.name for path in Path(statedir.BASE, UUID).iterdir()}
    assert after - before == (set() if check_mode else {"state.json.unreadable"})
