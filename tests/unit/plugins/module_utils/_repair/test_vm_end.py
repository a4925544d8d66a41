# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import proof
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    LinkError,
    RecordError,
    StuckError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    holdings,
    link,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import vm_end
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.history import History
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import Note
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    tun,
    vhost,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_vm,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel

ORIGIN = Origin("/usr/bin/python3", None, None)
OTHER = "52:54:00:00:00:02"


@pytest.fixture(name="base", autouse=True)
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    return a_base(tmp_path, monkeypatch)


def settle(note: Note, mode: t.Any = "required") -> None:
    state = VmState(note.uuid)
    with Auditor(mode) as auditor, state.locked(0):
        vm_end.end_vm(note, state, History(note), auditor, ORIGIN)


def test_a_vm_that_died(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = a_kernel(monkeypatch)
    removed: list[tuple[str, int]] = []
    monkeypatch.setattr(
        vm_end,
        "remove_remains",
        lambda nic: removed.append((nic.mac, len(kernel.texts))),
    )
    nics = {
        MAC: a_nic_note(devices=[tun(31), vhost(32)]),
        OTHER: a_nic_note(mac=OTHER, phase="revoked", devices=[tun(33)]),
    }
    settle(a_vm(interfaces=nics))
    assert told(kernel) == ["stop crashed", "detach", "close", "close"]
    assert all('exe="/usr/bin/python3"' in text for text in kernel.texts)
    # The task removes the links after the last record.
    assert removed == [(MAC, 4), (OTHER, 4)]
    assert list(base.iterdir()) == []


@pytest.mark.parametrize(
    ("made_by_qemu", "left", "reason"),
    [
        (True, False, "shutdown"),
        (True, True, "crashed"),
        (False, True, "crashed"),
        (False, False, "crashed"),
    ],
)
def test_how_it_ended(made_by_qemu: bool, left: bool, reason: str) -> None:
    note = a_vm(pid_file=made_by_qemu)
    state = VmState(UUID)
    if left:
        state.write_pid_file(4711)
    assert vm_end._how_it_ended(note, state) == reason


def test_a_vm_that_something_else_started(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = a_kernel(monkeypatch)
    settle(a_vm(started=False))
    assert told(kernel) == ["detach", "close"]


def test_a_start_that_was_cut_off(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = a_kernel(monkeypatch)
    nic = a_nic_note(phase="opening", devices=[tun(9)])
    settle(a_vm(booting=True, busy=time.time(), interfaces={MAC: nic}))
    assert told(kernel) == ["start", "close", "start booted"]
    assert [text.rpartition("=")[2] for text in kernel.texts] == [
        "failed",
        "success",
        "failed",
    ]
    assert list(base.iterdir()) == []


def test_an_end_that_cannot_be_recorded_stays_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_kernel(monkeypatch, Kernel(echoes=False))
    note = a_vm()
    with pytest.raises(AuditError):
        settle(note)
    left = VmState(UUID).load()
    assert left is not None
    assert (left.pid, left.interfaces) == (note.pid, note.interfaces)
    # The next task reads the log from here on.
    assert left.busy == pytest.approx(time.time(), abs=5)


def test_an_end_that_the_daemon_drops_stays_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proof, "_DISK_SECONDS", 0.05)
    removed: list[str] = []
    monkeypatch.setattr(vm_end, "remove_remains", lambda nic: removed.append(nic.mac))
    kernel = a_kernel(monkeypatch, Kernel(writes=False))
    note = a_vm()
    with pytest.raises(AuditError, match="has suspended its logging"):
        settle(note)
    assert told(kernel) == ["stop crashed", "detach", "close"]
    left = VmState(UUID).load()
    assert left is not None
    assert left.interfaces == note.interfaces
    assert left.busy == pytest.approx(time.time(), abs=5)
    assert removed == []


def test_a_device_that_another_process_holds_is_not_recorded_as_given_up(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    nics = {
        MAC: a_nic_note(devices=[tun(31)]),
        OTHER: a_nic_note(mac=OTHER, ifname="vt525400000002", devices=[tun(33)]),
    }
    note = a_vm(interfaces=nics, started=False)
    held = {nics[MAC].ifname: holdings.Holding(nics[MAC].ifname)}
    monkeypatch.setattr(holdings, "wait_free", lambda name, *_rest: held.get(name))
    with pytest.raises(
        StuckError, match=f"somebody still holds a device that it had: {MAC}: the tap"
    ):
        settle(note)
    assert told(kernel) == ["detach", "close"]
    assert f'old-net="{OTHER}"' in kernel.texts[0]
    held.clear()
    left = VmState(UUID).load()
    assert left is not None
    settle(left)
    assert told(kernel) == ["detach", "close"] * 2
    assert f'old-net="{MAC}"' in kernel.texts[2]
    assert list(base.iterdir()) == []


@pytest.mark.parametrize("removable", [True, False])
def test_a_persistent_tap_is_removed_before_its_close_is_recorded(
    base: Path, monkeypatch: pytest.MonkeyPatch, removable: bool
) -> None:
    kernel = a_kernel(monkeypatch)
    nic = a_nic_note(ifindex=7, devices=[tun(31)])
    taps = {7: nic.ifname}
    recorded: list[list[str]] = []

    def remove(ifindex: int, _name: str) -> None:
        recorded.append(told(kernel))
        if not removable:
            raise LinkError("no")
        del taps[ifindex]

    monkeypatch.setattr(sysfs, "name_of", taps.get)
    monkeypatch.setattr(sysfs, "is_persistent", lambda name: name == nic.ifname)
    monkeypatch.setattr(holdings, "holder_of", lambda *_link: None)
    monkeypatch.setattr(link, "remove_at", remove)
    note = a_vm(interfaces={MAC: nic})
    if removable:
        settle(note)
        assert told(kernel) == ["stop crashed", "detach", "close"]
        assert list(base.iterdir()) == []
    else:
        with pytest.raises(StuckError, match="could not remove it: no"):
            settle(note)
        assert told(kernel) == ["stop crashed"]
        assert VmState(UUID).load() is not None
    assert recorded == [["stop crashed"]]


def test_a_record_that_cannot_be_made_keeps_no_other_nic_from_its_end(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    bad = dataclasses.replace(tun(31), rdev="0A C8")
    nics = {
        MAC: a_nic_note(devices=[bad]),
        OTHER: a_nic_note(mac=OTHER, devices=[tun(33)]),
    }
    with pytest.raises(RecordError, match="rdev cannot hold '0A C8'"):
        settle(a_vm(interfaces=nics, started=False))
    assert told(kernel) == ["detach", "detach", "close"]
    left = VmState(UUID).load()
    assert left is not None
    assert {mac: nic.phase for mac, nic in left.interfaces.items()} == {
        MAC: "held",
        OTHER: "revoked",
    }


def test_without_audit_nothing_is_written(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    settle(a_vm(audit="off"), "off")
    assert kernel.texts == []
    assert os.listdir(base) == []
