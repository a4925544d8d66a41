# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    LinkError,
    MonitorError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import release
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.outcome import (
    Outcome,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import nic_end
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import Report
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
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
    a_live,
    a_vm,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import (
    FakeQemu,
    show_in_proc,
)


def test_a_switch_that_does_not_answer_does_not_keep_a_nic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note has all that a revocation needs, so nobody asks the switch before."""

    def refuse(_nic: Nic) -> t.NoReturn:
        raise LinkError("Open vSwitch's database does not answer")

    a_base(tmp_path, monkeypatch)
    show_in_proc(monkeypatch)
    note, qemu, report = a_vm(), FakeQemu(), Report(Auditor("off"))
    qemu.held, qemu.netdevs = {31: tun(31)}, {"hostnet": [31]}
    qemu.answers["query-status"] = lambda arguments: {"running": True}
    vm = Vm(a_target(), UUID, note)
    nic = Nic(MAC, None, "hostnet", [tun(31)], note.interfaces[MAC])
    vm._live = a_live(qemu, None, nic)
    monkeypatch.setattr(Nic, "as_note", refuse)
    monkeypatch.setattr(release, "wait_free", lambda *given: None)
    monkeypatch.setattr(nic_end, "remove_remains", lambda *given, **options: None)
    outcomes: list[Outcome] = []
    messages = vm.messages(Origin("/usr/bin/python3", None, None), "kvm")
    release.release(vm, note, [nic], True, report, messages, outcomes)
    assert qemu.held == {}
    assert [each.action for each in outcomes] == ["revoked"]


@pytest.mark.parametrize("force", [True, False])
def test_remains_of_a_nic_that_was_closed_before_are_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    """An earlier task closed the host side and could not remove the filter. Only the note tells that it is there."""

    def refuse(_entry: object, _free: bool) -> t.NoReturn:
        raise LinkError("nftables does not answer")

    a_base(tmp_path, monkeypatch)
    show_in_proc(monkeypatch)
    entry = a_nic_note(phase="revoked")
    note, qemu, report = (
        a_vm(interfaces={MAC: entry}),
        FakeQemu(),
        Report(Auditor("off")),
    )
    qemu.answers["query-status"] = lambda arguments: {"running": True}
    vm = Vm(a_target(), UUID, note)
    nic = Nic(MAC, None, "hostnet", [], entry)
    vm._live = a_live(qemu, None, nic)
    monkeypatch.setattr(nic_end, "remove_remains", refuse)
    outcomes: list[Outcome] = []
    messages = vm.messages(Origin("/usr/bin/python3", None, None), "kvm")
    release.release(vm, note, [nic], force, report, messages, outcomes)
    assert [each.left for each in outcomes] == ["nftables does not answer"]
    assert note.interfaces == {MAC: entry}


@pytest.mark.parametrize(
    ("running", "left", "frozen"),
    [(True, True, False), (True, False, True), (False, False, False)],
)
def test_a_guest_that_does_not_go_on_stays_noted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    running: bool,
    left: bool,
    frozen: bool,
) -> None:
    """If qemu does not let the guest go on after a moment, the next task does. A guest that was paused before stays so."""
    a_base(tmp_path, monkeypatch)
    note, qemu, report = a_vm(), FakeQemu(), Report(Auditor("off"))
    vm = Vm(a_target(), UUID, note)
    vm._live = a_live(qemu)
    state = {"running": running}
    qemu.answers["query-status"] = lambda arguments: state
    for _time in range(2):
        with release._may_freeze(vm, note, report):
            saved = vm.state.load()
            assert saved is not None
            assert saved.frozen is running
            state["running"] = left
        assert note.frozen is frozen
    said: list[t.Any] = report.warnings
    assert [words.startswith("the guest of VM web01 is paused") for words in said] == [
        True
    ] * (2 if frozen else 0)


def test_a_qemu_that_no_longer_answers_does_not_keep_a_revocation_from_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc shows that it has given up the devices. Nobody knows whether the guest goes on, so the next task lets it."""
    a_base(tmp_path, monkeypatch)
    note, qemu, report = a_vm(), FakeQemu(), Report(Auditor("off"))
    vm = Vm(a_target(), UUID, note)
    vm._live = a_live(qemu)
    qemu.answers["query-status"] = lambda arguments: {"running": True}
    qemu.fails["query-status", 1] = MonitorError("qemu did not answer")
    with release._may_freeze(vm, note, report):
        pass
    assert note.frozen
    assert len(report.warnings) == 1
