# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A hot-plug that cannot be recorded is taken back, or left to the next task."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    LinkError,
    MonitorError,
    PendingError,
    StuckError,
    VirtauditError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import (
    hot_plug,
    release,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.outcome import (
    Outcome,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.plan import Step
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import holdings
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.holdings import (
    Holding,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.plug import (
    Offer,
    plug,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    a_nic_note,
    a_note,
    an_interface,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import a_live
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu


class Plugged(FakeQemu):
    """A qemu that got a tap. It may have ended."""

    ended = False

    def wait_end(self, seconds: float) -> bool:
        return self.ended


@pytest.fixture(name="qemu")
def fixture_qemu(monkeypatch: pytest.MonkeyPatch) -> Plugged:
    monkeypatch.setattr(holdings, "_RELEASE_SECONDS", 0.0)
    qemu = Plugged([tun(10)])
    qemu.nics["/machine/peripheral/net-525400000001"] = {}
    return qemu


def take_back(qemu: Plugged) -> None:
    offer = Offer(an_interface(), [tun(10)], None)
    done = plug(qemu.monitor, qemu.process, [offer], lambda _given: None)
    hot_plug._take_back(a_live(qemu), [an_interface()], done.held)


def test_a_hot_plug_is_taken_back(qemu: Plugged) -> None:
    take_back(qemu)
    assert (qemu.held, qemu.netdevs) == ({}, {})
    assert qemu.commands[-2:] == ["netdev_del", "device_del"]


@pytest.mark.parametrize("ended", [False, True])
def test_a_qemu_that_does_not_answer_keeps_the_nic_unless_it_has_ended(
    qemu: Plugged, ended: bool
) -> None:
    qemu.fails["netdev_del"] = MonitorError("qemu did not answer")
    qemu.ended = ended
    if ended:
        take_back(qemu)
        return
    with pytest.raises(StuckError, match=f"attach of {MAC} could not be recorded"):
        take_back(qemu)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"phase": "opening"}, False),
        ({"phase": "held"}, True),
        ({"phase": "revoked"}, True),
        # Its macvtap could not be removed.
        ({"phase": "opening", "type": "direct"}, True),
    ],
)
def test_an_interface_that_was_not_attached_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, t.Any], kept: bool
) -> None:
    monkeypatch.setattr(hot_plug, "has_remains", lambda nic: nic.type == "direct")
    note = a_note(interfaces={MAC: a_nic_note(**changes)})
    hot_plug._drop_unfinished(note)
    assert (MAC in note.interfaces) is kept


def test_an_unlisted_nic_that_only_the_guest_keeps_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keep(*given: t.Any) -> None:
        given[-1].append(Outcome(MAC, "absent", pending=True))

    monkeypatch.setattr(release, "release", keep)
    vm: t.Any = types.SimpleNamespace(
        name="web01", target=types.SimpleNamespace(timeout=1)
    )
    report: t.Any = types.SimpleNamespace(changed=False, interfaces=[], warnings=[])
    given: t.Any = None
    hot_plug._detach_unlisted(vm, given, [], report, given)
    (said,) = report.warnings
    assert "guest of VM web01 still shows the NIC" in said


FAILED: list[tuple[Outcome, type[VirtauditError], str, str]] = [
    (
        Outcome(MAC, "pending", True),
        PendingError,
        "guest did not release it within 1 s. It is attached as before",
        "not free",
    ),
    (
        Outcome(MAC, "absent", True),
        PendingError,
        "Its host side is closed",
        "as before",
    ),
    (
        Outcome(MAC, "pending", True, refused="no bus"),
        PendingError,
        "no bus. It is attached as before",
        "guest did not",
    ),
    # The guest released it and qemu has closed it.
    (
        Outcome(MAC, "pending", True, holding=Holding("vt01", problem="pid 7 has it")),
        PendingError,
        "its device is not free: pid 7 has it. So the task recorded no detach",
        "guest did not",
    ),
    (Outcome(MAC, "detached", left="vt01 is left"), LinkError, "vt01 is left", "guest"),
]


@pytest.mark.parametrize(("outcome", "error", "said", "unsaid"), FAILED)
def test_a_nic_that_cannot_be_replaced_says_who_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
    outcome: Outcome,
    error: type[VirtauditError],
    said: str,
    unsaid: str,
) -> None:
    monkeypatch.setattr(release, "release", lambda *given: given[-1].append(outcome))
    vm: t.Any = types.SimpleNamespace(
        name="web01",
        target=types.SimpleNamespace(timeout=1),
        live=types.SimpleNamespace(free_ports=list),
    )
    report: t.Any = types.SimpleNamespace(
        auditor=types.SimpleNamespace(check=lambda: None), changed=False
    )
    given: t.Any = None
    step = Step(an_interface(), "attach", replace=True)
    with pytest.raises(error) as caught:
        hot_plug._take_out(vm, given, step, report, given)
    assert f"could not replace {MAC}:" in str(caught.value)
    assert said in str(caught.value)
    assert unsaid not in str(caught.value)
    # Also without audit, so that no record shows it.
    assert report.changed is (outcome.action == "detached")
