# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import proof
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.mode import Mode
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.change import (
    leave_unproved,
    settle_note,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.session import (
    Session,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_vm,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel

MESSAGES = Messages(Vm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None))
ATTACH = MESSAGES.net_grant("attach", MAC, [31], success=True)
START = MESSAGES.net_grant("start", MAC, [31], success=True)
DETACH = MESSAGES.net_detach(MAC, success=True)
CLOSE = MESSAGES.net_close(MAC, tun(31), 31)


@pytest.fixture(autouse=True)
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_base(tmp_path, monkeypatch)
    monkeypatch.setattr(proof, "_DISK_SECONDS", 0.05)


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
def test_what_the_daemon_dropped_is_left_to_the_next_task(
    monkeypatch: pytest.MonkeyPatch, record: Record, noted: t.Any, left: str, mode: Mode
) -> None:
    a_kernel(monkeypatch, Kernel(writes=False))
    nic = a_nic_note(phase=noted, devices=[tun(31)])
    note = a_vm(interfaces={MAC: nic}, busy=1.0)
    state = VmState(UUID)
    finished: list[object] = []
    session = types.SimpleNamespace(state=state, finish=finished.append)
    with Auditor(mode) as auditor:
        auditor.write(record)
        settle_note(t.cast(Session, session), note, auditor)
    assert note.interfaces[MAC].phase == (left if mode == "required" else noted)
    saved = state.load()
    assert saved is not None
    if mode == "required":
        assert finished == []
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
        leave_unproved(note, auditor)
    assert note.interfaces[MAC].devices == [tun(31)]
    assert note.interfaces[MAC].phase == "opening"
