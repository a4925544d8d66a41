# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task notes before a hand-over and records after it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Vm as AuditedVm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    LinkError,
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import handover
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import nic_end
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import Note
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_note,
    a_target,
    an_interface,
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
    a_vm,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel

HELD = [tun(31), vhost(32)]
OTHER = "c1e2f3a4-0001-4000-8000-000000000013"
MESSAGES = Messages(
    AuditedVm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None)
)


@pytest.fixture(name="vm")
def fixture_vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Vm]:
    """A VM that does not run, and whose lock a task has."""
    a_base(tmp_path, monkeypatch)
    vm = Vm(a_target(audit="best_effort"), UUID, None)
    with vm.state.locked(1):
        yield vm


def loaded() -> Note:
    note = VmState(UUID).load()
    assert note is not None
    return note


def test_a_task_notes_what_it_will_open(vm: Vm) -> None:
    handover.claim(vm, a_note(audit="off"), [an_interface(queues=2)])
    nic = loaded().interfaces[MAC]
    assert (nic.phase, nic.ifname, nic.queues) == ("opening", "vt525400000001", 2)
    assert nic.netdev == "hostnet-525400000001"
    assert nic.devices == []
    # The strictest mode that the tasks of this VM asked for.
    assert loaded().audit == "best_effort"


def test_the_second_vm_does_not_get_a_mac(vm: Vm, start: Start) -> None:
    process = process_of(start())
    ids: dict[str, t.Any] = {"pid": process.pid, "start_time": process.start_time}
    a_vm(OTHER, name="web02", **ids)
    with pytest.raises(OptionError, match=r"another VM has .*: web02"):
        handover.claim(vm, a_note(), [an_interface()])
    assert VmState(UUID).load() is None


@pytest.mark.parametrize("goes", [True, False])
def test_the_remains_of_an_earlier_nic_are_not_forgotten(
    vm: Vm, monkeypatch: pytest.MonkeyPatch, goes: bool
) -> None:
    """Only the entry of the earlier NIC tells what is left of it, so a new entry must not take its place."""
    left = [True]

    class Backend:
        left = "the filter"

        def remains(self, _link: object) -> bool:
            return left[0]

        def remove(self, _link: object) -> None:
            if not goes:
                raise LinkError("nftables does not answer")
            left[0] = False

    monkeypatch.setattr(nic_end, "backend_of", lambda kind: Backend())
    earlier = a_nic_note(phase="revoked", ifname="vm7")
    note = a_note(interfaces={MAC: earlier})
    if goes:
        handover.claim(vm, note, [an_interface()])
        assert loaded().interfaces[MAC].phase == "opening"
    else:
        with pytest.raises(LinkError, match=r"nftables does not answer\. It is the fi"):
            handover.claim(vm, note, [an_interface()])
        assert note.interfaces == {MAC: earlier}
    assert left == [not goes]


def test_a_grant_is_recorded_with_the_numbers_that_qemu_has(
    vm: Vm, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    note = a_note(interfaces={MAC: a_nic_note(phase="opening")})
    with Auditor("required") as auditor:
        handover.record_grants(vm, note, auditor, MESSAGES, "attach", {MAC: HELD})
    (text,) = kernel.texts
    assert "reason=attach" in text
    assert f'new-net="{MAC}"' in text
    assert "fds=31,32" in text
    assert loaded().interfaces[MAC].phase == "held"
    assert loaded().interfaces[MAC].devices == HELD


def test_a_grant_without_a_record_is_not_noted(
    vm: Vm, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_kernel(monkeypatch, Kernel(echoes=False))
    note = a_note(interfaces={MAC: a_nic_note(phase="opening", devices=[tun(31)])})
    with Auditor("required") as auditor, pytest.raises(AuditError):
        handover.record_grants(vm, note, auditor, MESSAGES, "attach", {MAC: HELD})
    assert note.interfaces[MAC].phase == "opening"
    assert VmState(UUID).load() is None


def test_the_result_of_the_module() -> None:
    value = handover.attached(an_interface(), [tun(31)])
    assert (value["mac"], value["action"], value["queues"]) == (MAC, "attached", 1)
    assert value["devices"] == [
        {
            "path": "/dev/net/tun",
            "rdev": "0A:C8",
            "dev": "vt525400000001",
            "fd": 31,
            "event": "1.000:31",
        }
    ]
