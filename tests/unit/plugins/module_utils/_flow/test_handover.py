# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is noted before a hand-over and recorded after it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import handover
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import Note
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.session import (
    Session,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_note,
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

OTHER = "c1e2f3a4-0001-4000-8000-000000000013"
MESSAGES = Messages(Vm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None))


@pytest.fixture(name="session")
def fixture_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> t.Iterator[Session]:
    """A task for a VM that does not run."""
    a_base(tmp_path, monkeypatch)
    params: dict[str, t.Any] = {
        "name": "web01",
        "uuid": UUID,
        "qmp_socket": None,
        "audit": "best_effort",
        "timeout": 1,
    }
    session = Session(params, False)
    session.uuid, session.state = UUID, VmState(UUID)
    with session.state.locked(1):
        yield session


def loaded() -> Note:
    note = VmState(UUID).load()
    assert note is not None
    return note


def test_what_will_be_opened_is_noted_first(session: Session) -> None:
    handover.claim(session, a_note(audit="off"), [an_interface(queues=2)])
    nic = loaded().interfaces[MAC]
    assert (nic.phase, nic.ifname, nic.queues) == ("opening", "vt525400000001", 2)
    assert nic.netdev == "hostnet-525400000001"
    assert nic.devices == []
    assert loaded().busy is not None
    # The stricter of what the tasks of this VM asked.
    assert loaded().audit == "best_effort"


def test_the_second_vm_does_not_get_a_mac(session: Session, start: Start) -> None:
    process = process_of(start())
    ids: dict[str, t.Any] = {"pid": process.pid, "start_time": process.start_time}
    a_vm(OTHER, name="web02", **ids)
    with pytest.raises(OptionError, match="is held by another VM: web02"):
        handover.claim(session, a_note(), [an_interface()])
    assert VmState(UUID).load() is None


def test_a_grant_is_recorded_with_the_numbers_that_are_noted(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = a_kernel(monkeypatch)
    nic = a_nic_note(phase="opening", devices=[tun(31), vhost(32)])
    note = a_note(interfaces={MAC: nic})
    with Auditor("required") as auditor:
        handover.record_grant(
            session, note, auditor, MESSAGES, "attach", an_interface()
        )
    (text,) = kernel.texts
    assert "reason=attach" in text
    assert f'new-net="{MAC}"' in text
    assert "fds=31,32" in text
    assert loaded().interfaces[MAC].phase == "held"


def test_what_cannot_be_recorded_is_not_noted_as_held(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_kernel(monkeypatch, Kernel(echoes=False))
    note = a_note(interfaces={MAC: a_nic_note(phase="opening", devices=[tun(31)])})
    with Auditor("required") as auditor, pytest.raises(AuditError):
        handover.record_grant(
            session, note, auditor, MESSAGES, "attach", an_interface()
        )
    assert note.interfaces[MAC].phase == "opening"
    assert VmState(UUID).load() is None


def test_the_value_of_the_module() -> None:
    note = a_note(interfaces={MAC: a_nic_note(devices=[tun(31)])})
    value = handover.attached(note, an_interface())
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
