# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import proof
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Vm as AuditedVm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.mode import Mode
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import MonitorError
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import Note
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_target,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    DEAD,
    a_base,
    a_kernel,
    a_live,
    a_vm,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

MESSAGES = Messages(
    AuditedVm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None)
)
ATTACH = MESSAGES.net_grant("attach", MAC, [31], success=True)
START = MESSAGES.net_grant("start", MAC, [31], success=True)
DETACH = MESSAGES.net_detach(MAC, success=True)
CLOSE = MESSAGES.net_close(MAC, tun(31), 31)


@pytest.fixture(autouse=True)
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_base(tmp_path, monkeypatch)
    monkeypatch.setattr(proof, "_DISK_SECONDS", 0.05)
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])


def living(**changes: t.Any) -> Note:
    """Note a VM whose process is the test's own process."""
    me = Process.of(os.getpid())
    assert me is not None
    return a_vm(**{"pid": me.pid, "start_time": me.start_time, **changes})


@pytest.mark.parametrize(
    ("record", "noted", "left"),
    [
        (ATTACH, "held", "opening"),
        (ATTACH, "opening", "opening"),
        (DETACH, "revoked", "held"),
        (CLOSE, "revoked", "held"),
        (START, "held", "opening"),
    ],
)
@pytest.mark.parametrize("mode", ["required", "best_effort"])
def test_records_that_the_daemon_dropped_are_left_to_the_next_task(
    monkeypatch: pytest.MonkeyPatch, record: Record, noted: t.Any, left: str, mode: Mode
) -> None:
    a_kernel(monkeypatch, Kernel(writes=False))
    nic = a_nic_note(phase=noted, devices=[tun(31)])
    vm = Vm(a_target(), UUID, living(interfaces={MAC: nic}, busy=1.0))
    with Auditor(mode) as auditor, vm.change(auditor) as note:
        auditor.write(record)
    assert note.interfaces[MAC].phase == (left if mode == "required" else noted)
    saved = VmState(UUID).load()
    assert saved is not None
    if mode == "required":
        assert saved.interfaces[MAC].phase == left
        assert saved.busy == 1.0
    assert "has suspended its logging" in auditor.warnings[-1]


def test_an_open_that_the_daemon_dropped_is_not_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_kernel(monkeypatch, Kernel(writes=False))
    with Auditor("required") as auditor:
        dropped = tun(32)
        dropped.event = auditor.write(MESSAGES.net_open(MAC, dropped, success=True))
        nic = a_nic_note(phase="opening", devices=[tun(31), dropped])
        note = a_vm(interfaces={MAC: nic})
        auditor.prove_anyway()
        for event, record in auditor.unproved.items():
            note.unrecord(event, record.fields)
    assert note.interfaces[MAC].devices == [tun(31)]
    assert note.interfaces[MAC].phase == "opening"


@pytest.mark.parametrize(
    ("changes", "under_way"),
    [
        ({}, False),
        # Its guest may be paused, and the next task lets it go on.
        ({"frozen": True}, True),
        ({"booting": True}, True),
        ({"interfaces": {MAC: a_nic_note(phase="opening")}}, True),
        # Its end is not recorded yet.
        (DEAD, True),
    ],
    ids=["whole", "frozen", "booting", "opening", "ended"],
)
@pytest.mark.parametrize("fails", [False, True])
def test_an_unfinished_task_stays_under_way(
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, t.Any],
    under_way: bool,
    fails: bool,
) -> None:
    a_kernel(monkeypatch)
    vm = Vm(a_target(), UUID, living(**changes))
    with (
        contextlib.suppress(MonitorError),
        Auditor("off") as auditor,
        vm.change(auditor),
    ):
        saved = vm.state.load()
        assert saved is not None
        assert saved.busy is not None
        if fails:
            raise MonitorError("qemu did not answer")
    saved = vm.state.load()
    assert saved is not None
    assert (saved.busy is not None) is under_way


def test_the_records_of_an_interrupted_task_are_read_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def records_of(_uuid: str, since: float) -> list[t.Any]:
        asked.append(since)
        return []

    monkeypatch.setattr(recent, "records_of", records_of)
    a_kernel(monkeypatch)
    vm = Vm(a_target(), UUID, living(busy=100.0))
    with Auditor("off") as auditor, vm.change(auditor):
        pass
    with Auditor("off") as auditor, vm.change(auditor):
        pass
    assert asked == [pytest.approx(99.9)]


@pytest.mark.parametrize("started", [True, False])
def test_a_nic_of_another_program_belongs_to_its_owner_again(
    monkeypatch: pytest.MonkeyPatch, started: bool
) -> None:
    a_kernel(monkeypatch)
    foreign = a_nic_note(made=False, devices=[tun(31)])
    vm = Vm(a_target(), UUID, living(started=started, interfaces={MAC: foreign}))
    with Auditor("off") as auditor, vm.change(auditor):
        pass
    saved = VmState(UUID).load()
    assert saved == vm.note
    assert (saved is not None) is started
    assert saved is None or saved.interfaces == {}


@pytest.mark.parametrize("look", ["refresh", "free_ports"])
def test_a_later_look_at_a_vm_takes_no_longer_than_the_first(
    monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """A qemu that its guest has taken over can list thousands of ports, and wait before each answer about them."""
    qemu, limits = FakeQemu(), []

    def altogether(seconds: float) -> t.ContextManager[None]:
        limits.append(seconds)
        return contextlib.nullcontext()

    monkeypatch.setattr(qemu, "altogether", altogether)
    vm = Vm(a_target(), UUID, living())
    vm._live = a_live(qemu)
    monkeypatch.setattr(vm, "adopt", lambda process, monitor: None)
    if look == "refresh":
        vm.refresh()
    else:
        vm.live.free_ports()
    assert limits == [3.0]
