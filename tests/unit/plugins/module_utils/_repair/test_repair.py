# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The next task finds what an interrupted task left."""

from __future__ import annotations

import dataclasses
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    LinkError,
    ProcessError,
    QmpError,
    StuckError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import holdings, sysfs
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import (
    FrontEnd,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import (
    nic_end,
    repair,
    vm_end,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import (
    Note,
    Phase,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_target,
    tun,
    vhost,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    process_of,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_live,
    a_vm,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

ORIGIN = Origin("/usr/bin/python3", None, None)
FRONT_END = FrontEnd("/machine/peripheral/net", "virtio-net-pci", MAC, "hostnet")


@pytest.fixture(autouse=True)
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    a_base(tmp_path, monkeypatch)


class Fake(FakeQemu):
    """A qemu whose monitor can be left."""

    start_time = 1

    def close(self) -> None:
        self.log.append(("close", {}))


def a_task_on(
    note: Note, process: Process | None = None, socket: str | None = None, **nics: Nic
) -> Vm:
    """Return a task's VM, which has found the process, if there is one."""
    vm = Vm(a_target(qmp_socket=socket, audit="off"), UUID, note)
    if process is not None:
        qemu = Fake()
        qemu.answers["query-kvm"] = lambda given: {"enabled": True}
        vm._live = a_live(qemu, process, *nics.values())
    return vm


def repaired(vm: Vm, ticket: str | None = None, check_mode: bool = False) -> Report:
    """Repair first, in a task with audit: off. Return its report."""
    with Auditor("off", ticket) as auditor:
        report = Report(auditor)
        repair.repair_first(vm, report, ORIGIN, check_mode)
    return report


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_only_the_qemu_of_the_start_is_ended(
    start: Start, noted: bool, given: bool
) -> None:
    ours, met = start(), start()
    process = process_of(ours) if noted else process_of(met)
    changes: dict[str, t.Any] = {"pid": None, "start_time": None}
    if noted:
        changes = {"pid": process.pid, "start_time": process.start_time}
    note = a_vm(booting=True, **changes)
    vm = a_task_on(note, process_of(met), "/run/foreign.sock" if given else None)
    assert vm_end.end_process(vm, note)
    assert not vm.running
    assert (ours.poll() is None) is not noted
    # The VM's own monitor shows that it is the process of the start.
    assert (met.poll() is None) is (noted or given)


def test_a_qemu_that_cannot_be_ended_keeps_its_devices(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    process = process_of(start())
    note = a_vm(booting=True, pid=process.pid, start_time=process.start_time)
    monkeypatch.setattr(Process, "end", lambda self: False)
    with pytest.raises(ProcessError, match="cannot be"):
        repaired(a_task_on(note, process))
    assert kernel.texts == []
    assert VmState(UUID).load() == note


def test_a_qemu_that_ends_during_the_repair_is_put_on_record(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start()
    process = process_of(child)

    def end_and_look(vm: Vm) -> None:
        child.kill()
        child.wait()
        vm.disconnect()

    monkeypatch.setattr(Vm, "look", end_and_look)
    note = a_vm(pid=process.pid, start_time=process.start_time, busy=1.0)
    vm = a_task_on(dataclasses.replace(note, audit="off"), process)
    report = repaired(vm)
    assert vm.note is None
    assert VmState(UUID).load() is None
    assert "had ended by itself" in report.warnings[-1]


def test_a_cut_off_attach_whose_devices_qemu_has_lost_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repair, "_handed_over", lambda vm, note, nic: [])
    monkeypatch.setattr(Process, "fate", lambda process: ": qemu has ended or crashed")
    me = Process.of(os.getpid())
    assert me is not None
    nic = a_nic_note(phase="opening", devices=[tun(31)])
    note = a_vm(interfaces={MAC: nic})
    vm = a_task_on(note, me)
    with pytest.raises(ProcessError, match=r"no longer holds the devices of .*: qemu"):
        repair._require_held(vm, note, nic)
    assert nic.devices == [tun(31)]


# The task itself has audit: off.
@pytest.mark.parametrize("noted", ["required", "best_effort", "off"])
def test_a_repair_is_proved_in_the_mode_of_the_earlier_task(
    monkeypatch: pytest.MonkeyPatch, noted: str
) -> None:
    kernel = a_kernel(monkeypatch)
    vm = a_task_on(a_vm(audit=noted))
    monkeypatch.setattr(vm, "look", lambda: None)
    report = repaired(vm)
    wanted = [] if noted == "off" else ["stop crashed", "detach", "close"]
    assert told(kernel) == wanted
    assert len(report.result()["audit"]["records"]) == len(wanted)
    assert VmState(UUID).load() is None


def test_the_log_is_read_once_in_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    a_kernel(monkeypatch)
    reads: list[float] = []

    def read(_uuid: str, since: float) -> list[t.Any]:
        reads.append(since)
        return []

    monkeypatch.setattr(recent, "records_of", read)
    me = Process.of(os.getpid())
    assert me is not None
    note = a_vm(pid=me.pid, start_time=me.start_time, busy=100.0, audit="off")
    vm = a_task_on(note, me)
    monkeypatch.setattr(vm, "look", lambda: None)
    repaired(vm)
    # The log is not read again for work that the repair has settled.
    with Auditor("off") as auditor, vm.change(auditor):
        assert vm.history.records == []
    assert len(reads) == 1


def test_a_repair_has_the_ticket_of_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = a_kernel(monkeypatch)
    vm = a_task_on(a_vm())
    monkeypatch.setattr(vm, "look", lambda: None)
    repaired(vm, "CHG-1")
    assert len(kernel.texts) == 3
    assert all(' ticket="CHG-1" exe=' in text for text in kernel.texts)


def test_a_repair_that_cannot_be_proved_stays_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_kernel(monkeypatch, Kernel(enabled=0))
    note = a_vm()
    # Check mode says so, too, although the task itself has audit: off.
    for check_mode in (True, False):
        with pytest.raises(AuditError):
            repaired(a_task_on(note), check_mode=check_mode)
    assert VmState(UUID).load() == note


def test_the_vhost_net_of_others_is_not_ours() -> None:
    process = Fake()
    process.held = {each.fileno(): each for each in (vhost(20), tun(21), vhost(22))}
    nic = a_nic_note(phase="opening", devices=[tun(21), vhost(22)])
    note = a_vm(interfaces={MAC: nic})
    held = repair._handed_over(a_task_on(note, process.process), note, nic)
    assert held == [tun(21), vhost(22)]


def test_a_note_from_the_log_has_no_numbers() -> None:
    process = Fake()
    process.held = {each.fileno(): each for each in (vhost(20), tun(21), vhost(22))}
    opened = [dataclasses.replace(each, fd=None) for each in (tun(7), vhost(8))]
    other = a_nic_note(mac="52:54:00:00:00:02", devices=[vhost(20)])
    nic = a_nic_note(phase="opening", devices=opened)
    note = a_vm(interfaces={MAC: nic, "52:54:00:00:00:02": other})
    held = repair._handed_over(a_task_on(note, process.process), note, nic)
    assert [(each.fd, each.event) for each in held] == [
        (21, "1.000:7"),
        (22, "1.000:8"),
    ]


def test_a_device_that_is_still_held_is_not_recorded_as_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = a_kernel(monkeypatch)
    process = Fake()
    process.held = {21: tun(21)}
    nic = a_nic_note(phase="opening", devices=[tun(7)])
    ifname = str(nic.ifname)
    held = holdings.Holding(ifname)
    monkeypatch.setattr(holdings, "wait_free", lambda *link: held)
    # It lives.
    me = Process.of(os.getpid())
    assert me is not None
    note = a_vm(pid=me.pid, start_time=me.start_time, interfaces={MAC: nic})
    vm = a_task_on(note, process.process)
    with pytest.raises(StuckError, match="cannot be taken back"):
        repaired(vm)
    assert kernel.texts == []
    process.held.clear()
    monkeypatch.setattr(holdings, "wait_free", lambda *link: None)
    monkeypatch.setattr(vm, "look", lambda: None)
    repaired(vm)
    assert told(kernel) == ["attach", "close"]


def test_what_qemu_gave_up_is_recorded_only_when_nobody_holds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = a_kernel(monkeypatch)
    nic = a_nic_note(devices=[tun(31)])
    held = holdings.Holding(nic.ifname)
    monkeypatch.setattr(holdings, "wait_free", lambda *link: held)
    me = Process.of(os.getpid())
    assert me is not None
    ids: dict[str, t.Any] = {"pid": me.pid, "start_time": me.start_time}
    # An earlier task was cut off, and may have recorded the detach.
    note = a_vm(interfaces={MAC: nic}, busy=100.0, **ids)
    vm = a_task_on(note, me)
    with pytest.raises(
        StuckError, match=r"has given up .*, and its device is not free"
    ):
        repaired(vm)
    assert kernel.texts == []
    left = VmState(UUID).load()
    assert left is not None
    assert left.busy == 100.0
    monkeypatch.setattr(holdings, "wait_free", lambda *link: None)
    monkeypatch.setattr(vm, "look", lambda: None)
    repaired(vm)
    assert told(kernel) == ["detach", "close"]


@pytest.mark.parametrize(
    ("changes", "found", "left", "does"),
    [
        ({"booting": True}, Nic(MAC, FRONT_END, "n", [tun(31)], None), False, True),
        ({"busy": 1.0}, Nic(MAC, FRONT_END, "n", [tun(31)], None), True, False),
        ({"phase": "opening"}, Nic(MAC, None, "n", [tun(31)], None), False, True),
        ({"phase": "opening"}, Nic(MAC, FRONT_END, "n", [tun(31)], None), True, True),
        ({}, Nic(MAC, FRONT_END, "n", [], None), True, True),
    ],
    ids=["booting", "nothing", "half", "whole", "lost"],
)
def test_check_mode_shows_the_state_after_the_repair(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, t.Any],
    found: Nic,
    left: bool,
    does: bool,
) -> None:
    kernel = a_kernel(monkeypatch)
    process = process_of(start())
    phase = changes.pop("phase", "held")
    nic = a_nic_note(phase=phase, devices=[tun(31)])
    ids: dict[str, t.Any] = {"pid": process.pid, "start_time": process.start_time}
    vm = a_task_on(a_vm(interfaces={MAC: nic}, **ids, **changes), process, nic=found)
    report = repaired(vm, check_mode=True)
    assert report.changed is does
    assert (MAC in vm.nics) is left
    assert kernel.texts == []


def test_check_mode_shows_the_vhost_net_of_a_cut_off_attach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run notes it, and then the NIC is as a task with vhost: required asks for."""
    a_kernel(monkeypatch)
    me = Process.of(os.getpid())
    assert me is not None
    qemu = Fake()
    qemu.held = {each.fileno(): each for each in (tun(31), vhost(32))}
    nic = a_nic_note(phase="opening", devices=[tun(31), vhost(32)])
    # This is what the monitor tells.
    found = Nic(MAC, FRONT_END, "hostnet", [tun(31)], nic)
    note = a_vm(interfaces={MAC: nic}, pid=me.pid, start_time=me.start_time)
    vm = a_task_on(note, qemu.process, nic=found)
    report = repaired(vm, check_mode=True)
    assert report.changed
    assert vm.nics[MAC].devices == [tun(31), vhost(32)]
    assert vm.nics[MAC].vhost


@pytest.mark.parametrize(
    ("phase", "answers", "what", "records"),
    [
        ("revoked", True, "an earlier task left vt525400000001, the link of", []),
        ("revoked", False, "an earlier task left vt525400000001, the link of", []),
        ("opening", True, "the attach of", ["attach", "close"]),
        ("held", False, "qemu had given up", ["detach", "close"]),
    ],
)
def test_remains_that_cannot_be_removed_do_not_keep_a_task_from_its_work(
    monkeypatch: pytest.MonkeyPatch,
    phase: Phase,
    answers: bool,
    what: str,
    records: list[str],
) -> None:
    """The end of their NIC is on record. A task that takes another NIC from the VM must not wait for a switch."""

    class Backend:
        left = "the port in Open vSwitch's database"

        def remains(self, _link: object) -> bool:
            if not answers:
                raise LinkError("Open vSwitch's database does not answer")
            return True

        def remove(self, _link: object) -> None:
            raise LinkError("the port could not be removed")

    monkeypatch.setattr(nic_end, "backend_of", lambda kind: Backend())
    me = Process.of(os.getpid())
    assert me is not None
    kernel = a_kernel(monkeypatch)
    left = a_nic_note(type="openvswitch", phase=phase, devices=[tun(31)])
    note = a_vm(interfaces={MAC: left}, pid=me.pid, start_time=me.start_time)
    monkeypatch.setattr(Vm, "look", lambda vm: None)
    monkeypatch.setattr(repair, "wait_free", lambda *given: None)
    monkeypatch.setattr(repair, "_take_back", lambda *given: None)
    report = repaired(a_task_on(note, me))
    (warning,) = report.warnings
    assert warning.startswith(what)
    assert told(kernel) == records
    assert "the port could not be removed. It is the port in Open vSwitch's" in warning
    kept = VmState(UUID).load()
    assert kept is not None
    assert kept.interfaces == {MAC: dataclasses.replace(left, phase="revoked")}
    # The next task tries again, and writes no record a second time.
    (warning,) = repaired(a_task_on(kept, me)).warnings
    assert warning.startswith("an earlier task left vt525400000001, the link of")
    assert told(kernel) == records


def test_a_switch_that_does_not_answer_says_nothing_about_a_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a cut-off attach to Open vSwitch would keep every task from the VM."""

    class Backend:
        def source_of(self, _name: str) -> str:
            raise LinkError("Open vSwitch's database does not answer")

    monkeypatch.setattr(nic_end, "backend_of", lambda kind: Backend())
    monkeypatch.setattr(sysfs, "exists", lambda name: True)
    monkeypatch.setattr(sysfs, "name_of", {12: "tap7"}.get)
    nic = a_nic_note(type="openvswitch", phase="opening", ifindex=12)
    assert nic_end.link_of(nic) == ("tap7", "br0")


def test_a_guest_that_needs_a_reset_does_not_keep_a_task_from_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A guest can crash or power itself off while a task has stopped it for a moment, or after that."""
    refusal = QmpError("cont", "GenericError", "Resetting the VM is required")
    me = Process.of(os.getpid())
    assert me is not None
    nic = a_nic_note(phase="opening", devices=[])
    changes: dict[str, t.Any] = {"pid": me.pid, "start_time": me.start_time}
    note = a_vm(frozen=True, busy=1.0, audit="off", interfaces={MAC: nic}, **changes)
    vm = a_task_on(note, me)
    qemu = t.cast(Fake, vm.live.monitor)
    qemu.fails["cont"] = refusal
    monkeypatch.setattr(Vm, "look", lambda vm: None)
    monkeypatch.setattr(holdings, "wait_free", lambda *link: None)
    first, second = repaired(vm).warnings
    assert first == (
        "an interrupted task has left the guest of VM web01 paused; qemu refused cont: Resetting the VM is required. The "
        "next task tries again"
    )
    assert second.startswith("the attach of")
    kept = VmState(UUID).load()
    assert kept is not None
    assert (kept.frozen, kept.interfaces) == (True, {})
    del qemu.fails["cont"]
    qemu.answers["cont"] = lambda given: {}
    assert repaired(vm).warnings[0].endswith("the guest runs again")
    kept = VmState(UUID).load()
    assert kept is not None
    assert not kept.frozen
