# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An update that was cut off, found by the next task."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    LinkError,
    QmpError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import sysfs
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import (
    FrontEnd,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import (
    nic_end,
    repair,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import Report
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import nic_network
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import NicNote
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
    a_base,
    a_kernel,
    a_live,
    a_vm,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

ORIGIN = Origin("/usr/bin/python3", None, None)
FRONT_END = FrontEnd("/machine/peripheral/net", "virtio-net-pci", MAC, "hostnet")
BEFORE, AFTER = Network("br0"), Network("br1", link="down")


class FakeBackend:
    """The kernel's side of a link: its network, and the networks that it was put on."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.before, self.after = BEFORE, AFTER
        self.problem: str | None = None
        self.left: list[str] = []

    def left_of(self, link: NicLink, before: NicLink) -> list[str]:
        assert (link.network, before.network) == (self.after, self.before)
        return self.left

    def source_of(self, _name: str) -> str | None:
        return self.network.source

    def observe(self, _link: NicLink) -> Network:
        return self.network

    def update(self, link: NicLink, network: Network) -> None:
        assert (link.network, link.vm) == (self.after, UUID)
        if self.problem is not None:
            raise LinkError(self.problem)
        self.network = network


class Case(t.NamedTuple):
    """A task that meets an update that was cut off."""

    vm: Vm
    nic: NicNote
    qemu: FakeQemu
    backend: FakeBackend
    kernel: Kernel

    def repaired(self, check_mode: bool = False) -> Report:
        with Auditor("off") as auditor:
            report = Report(auditor)
            repair.repair_first(self.vm, report, ORIGIN, check_mode)
        return report


@pytest.fixture(name="case")
def fixture_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    a_base(tmp_path, monkeypatch)
    backend = FakeBackend(AFTER)
    for module in (nic_end, nic_network):
        monkeypatch.setattr(module, "backend_of", lambda kind: backend)
    me = Process.of(os.getpid())
    assert me is not None
    nic = a_nic_note(updating=AFTER, devices=[tun(31)])
    note = a_vm(pid=me.pid, start_time=me.start_time, busy=100.0, interfaces={MAC: nic})
    vm = Vm(a_target(audit="off"), UUID, note)
    qemu = FakeQemu()
    qemu.answers["query-kvm"] = lambda given: {"enabled": True}
    qemu.answers["set_link"] = lambda given: {}
    found = Nic(MAC, FRONT_END, "hostnet", [tun(31)], nic)
    vm._live = a_live(qemu, me, found)
    monkeypatch.setattr(vm, "look", lambda: None)
    return Case(vm, nic, qemu, backend, a_kernel(monkeypatch))


def noted() -> NicNote:
    note = VmState(UUID).load()
    assert note is not None
    return note.interfaces[MAC]


def carriers(case: Case) -> list[t.Any]:
    return [given["up"] for name, given in case.qemu.log if name == "set_link"]


def test_an_update_that_was_made_is_recorded(case: Case) -> None:
    report = case.repaired()
    assert [text.rpartition("=")[2] for text in case.kernel.texts] == ["success"] * 2
    assert 'old-source="br0" new-source="br1"' in case.kernel.texts[0]
    assert "had been cut off after its link was on its new network" in str(
        report.warnings
    )
    assert case.backend.network == AFTER
    # Nobody knows whether the guest saw it.
    assert carriers(case) == [False]
    assert (noted().link.network, noted().updating) == (AFTER, None)
    assert case.vm.note is not None
    assert case.vm.note.busy is None


@pytest.mark.parametrize(
    ("network", "left"), [(Network("br1"), []), (AFTER, ["its former filter"])]
)
def test_an_update_that_was_not_made_is_undone(
    case: Case, network: Network, left: list[str]
) -> None:
    case.backend.network, case.backend.left = network, left
    report = case.repaired()
    assert [text.rpartition("=")[2] for text in case.kernel.texts] == ["failed"] * 2
    assert "it was recorded as failed and undone" in str(report.warnings)
    assert case.backend.network == BEFORE
    assert carriers(case) == [True]
    assert (noted().link.network, noted().updating) == (BEFORE, None)


@pytest.mark.parametrize("done", [True, False])
def test_an_mtu_that_nobody_noted(case: Case, done: bool) -> None:
    shown, after = Network("br0", mtu="1500"), Network("br0", mtu="1400")
    case.nic.begin_update(shown, after)
    case.backend.after = after
    case.backend.network = after if done else Network("br0", mtu="1234")
    case.repaired()
    (text,) = case.kernel.texts
    assert 'old-mtu="1500" new-mtu="1400"' in text
    assert case.backend.network == (after if done else shown)
    # No task has asked for the earlier value.
    assert noted().link.network == (after if done else BEFORE)
    assert (noted().updating, noted().observed) == (None, None)


def test_an_update_whose_record_cannot_be_made_stops_no_task(case: Case) -> None:
    # The switch has a name that does not fit into a record.
    case.backend.after = Network("x" * 9000)
    case.backend.network = case.nic.updating = case.backend.after
    report = case.repaired()
    assert "had been cut off after its link was on its new network; audit: the" in str(
        report.warnings
    )
    assert "The next task tries again" in str(report.warnings)
    assert noted().updating == case.backend.after
    assert case.vm.note is not None
    assert case.vm.note.busy == 100.0


def test_an_update_that_cannot_be_undone_stays_noted(case: Case) -> None:
    case.backend.network = Network("br1")
    case.backend.problem = "br0 is gone"
    report = case.repaired()
    assert len(case.kernel.texts) == 2
    assert "its link could not be put back: br0 is gone" in str(report.warnings)
    assert noted().updating == AFTER
    assert case.vm.note is not None
    assert case.vm.note.busy == 100.0


@pytest.mark.parametrize("problem", ["nft is gone", None])
def test_the_guest_loses_its_carrier_again_even_if_its_link_stays_up(
    case: Case, problem: str | None
) -> None:
    """A release from quarantine was cut off after both sides were up."""
    quarantine, released = AFTER, BEFORE
    case.nic.put_on(quarantine)
    case.nic.updating = released
    case.backend.before, case.backend.after = quarantine, released
    # Its filter, for example, is still missing.
    case.backend.network = Network("br0", filter="mac")
    case.backend.problem = problem
    report = case.repaired()
    assert carriers(case) == [False]
    assert (problem or "and undone") in str(report.warnings)
    assert noted().updating == (None if problem is None else released)


@pytest.mark.parametrize(
    ("network", "said"), [(AFTER, "put on record"), (BEFORE, "recorded as failed")]
)
def test_a_guest_whose_carrier_cannot_be_set_stops_no_task(
    case: Case, network: Network, said: str
) -> None:
    case.backend.network = network
    gone = QmpError("set_link", "DeviceNotFound", "Device 'net' not found")
    case.qemu.fails["set_link"] = gone
    report = case.repaired()
    assert len(case.kernel.texts) == 2
    assert (
        f"it was {said}, and the carrier that its guest sees could not be set: qemu refused set_link"
        in str(report.warnings)
    )
    assert noted().updating == AFTER
    assert case.vm.note is not None
    assert case.vm.note.busy == 100.0


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/machine/peripheral/net7", "net7"),
        # qemu finds no NIC by the name that an object without an id has.
        ("/machine/peripheral-anon/device[0]", "hostnet"),
    ],
)
def test_the_carrier_is_set_by_a_name_that_qemu_knows(
    case: Case, path: str, name: str
) -> None:
    case.vm.nics[MAC].front_end = FRONT_END._replace(path=path)
    case.repaired()
    assert ("set_link", {"name": name, "up": False}) in case.qemu.log


@pytest.mark.parametrize("network", [AFTER, BEFORE])
def test_a_link_of_another_program_with_the_same_name_is_left_alone(
    case: Case, monkeypatch: pytest.MonkeyPatch, network: Network
) -> None:
    case.backend.network, case.nic.ifindex = network, 12
    monkeypatch.setattr(sysfs, "ifindex", lambda name: 20)
    monkeypatch.setattr(sysfs, "name_of", lambda index: None)
    report = case.repaired()
    assert case.backend.network == network
    assert [text.rpartition("=")[2] for text in case.kernel.texts] == ["failed"] * 2
    assert "is not in this network namespace any more" in str(report.warnings)
    assert noted().updating == AFTER


def test_an_update_of_a_link_that_was_renamed_since_is_undone(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.nic.ifindex = 12
    monkeypatch.setattr(sysfs, "ifindex", {"web0": 12}.get)
    monkeypatch.setattr(sysfs, "name_of", {12: "web0"}.get)
    monkeypatch.setattr(sysfs, "exists", lambda name: name == "web0")
    case.repaired()
    assert case.backend.network == BEFORE
    assert (noted().ifname, noted().updating) == ("web0", None)


def test_check_mode_shows_the_later_state(case: Case) -> None:
    before = VmState(UUID).load()
    report = case.repaired(check_mode=True)
    assert report.changed
    assert "it will be put on record" in str(report.warnings)
    assert case.vm.nics[MAC].network == AFTER
    case.nic.put_on(BEFORE)
    case.nic.updating = AFTER
    case.backend.network = BEFORE
    assert "it will be recorded as failed" in str(case.repaired(True).warnings)
    assert case.vm.nics[MAC].network == BEFORE
    assert case.kernel.texts == []
    assert VmState(UUID).load() == before
