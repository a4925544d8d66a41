# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a detach will do, and what it says about a VM that has ended."""

from __future__ import annotations

import dataclasses
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import (
    detach,
    stop,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import (
    known,
    recent,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.known import Known
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import FrontEnd
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_live,
    a_vm,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

OTHER = "52:54:00:00:00:02"
OTHER_UUID = "c1e2f3a4-0001-4000-8000-000000000099"
WHOLE = Nic(MAC, None, "n", [tun(31)], None)
GUEST_SIDE = Nic(OTHER, None, "n", [], None)


@pytest.mark.parametrize(
    ("macs", "stop", "parsed"),
    [
        ([MAC.upper(), OTHER, MAC], "never", [MAC, OTHER]),
        (["all"], "never", None),
        (None, "destroy", None),
        ([MAC], "destroy", [MAC]),
    ],
)
def test_macs(macs: list[str] | None, stop: str, parsed: list[str] | None) -> None:
    assert detach._parse_macs(macs, stop) == parsed


@pytest.mark.parametrize(
    ("macs", "words"),
    [
        (None, "is required"),
        (["all", MAC], "either all or MACs"),
        (["x"], r"macs\[0\]: 'x' is not a MAC"),
    ],
)
def test_refused_macs(macs: list[str] | None, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        detach._parse_macs(macs, "never")


@pytest.mark.parametrize(
    ("force", "stop", "actions", "pending"),
    [
        (False, "never", ["detached", "absent"], [False, True]),
        # The NIC is removed from the machine, too.
        (True, "never", ["revoked", "absent"], [False, False]),
        (True, "destroy", ["detached", "detached"], [False, False]),
    ],
)
def test_the_actions_that_check_mode_predicts(
    force: bool, stop: str, actions: list[str], pending: list[bool]
) -> None:
    found = detach._predict([WHOLE, GUEST_SIDE], force, stop)
    assert [each.action for each in found] == actions
    assert [each.pending for each in found] == pending
    assert found[0].released == [tun(31)]


def test_a_stop_takes_all_nics_whatever_macs_names(
    params: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    front_end = FrontEnd("/machine/peripheral/net", "e1000", OTHER, "n")
    nics = {OTHER: dataclasses.replace(GUEST_SIDE, front_end=front_end), MAC: WHOLE}
    me = Process.of(os.getpid())
    assert me is not None
    note = a_vm(pid=me.pid, start_time=me.start_time)
    ended: list[str] = []

    def look(vm: Vm) -> None:
        vm._live = a_live(FakeQemu(), me)._replace(nics=nics)

    monkeypatch.setattr(Vm, "look", look)

    def end(_vm: Vm, how: str) -> bool:
        ended.append(how)
        return True

    monkeypatch.setattr(stop, "_end", end)
    monkeypatch.setattr(stop, "end_vm", lambda note, *rest: VmState(note.uuid).remove())
    params.update(macs=[MAC], stop_vm="destroy", audit="off")
    said, done = run(params, True), run(params, False)
    assert ended == ["destroy"]
    assert said["interfaces"] == done["interfaces"]
    # The order is that of the note.
    assert [each["mac"] for each in said["interfaces"]] == [*note.interfaces, OTHER]
    assert said["diff"] == done["diff"]


@pytest.fixture(name="params")
def fixture_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """A detach from a VM whose qemu has ended."""
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    logs_know(monkeypatch, Known(vm=True, macs={MAC}, begin=0.0))
    a_base(tmp_path, monkeypatch)
    return {
        "name": "web01",
        "uuid": UUID,
        "qmp_socket": None,
        "macs": ["all"],
        "force": False,
        "stop_vm": "never",
        "audit": "required",
        "timeout": 1,
    }


def logs_know(monkeypatch: pytest.MonkeyPatch, what: Known) -> None:
    """Let the host's logs know this about any VM."""
    monkeypatch.setattr(known, "look_up", lambda _uuid, _name, _macs: what)


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    with Auditor(params["audit"]) as auditor:
        report = Report(auditor)
        detach.run(params, check_mode, report)
        return report.result()


@pytest.mark.parametrize("macs", [["all"], [MAC]])
def test_check_mode_foresees_the_end_of_a_vm(
    params: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, macs: list[str]
) -> None:
    kernel = a_kernel(monkeypatch)
    note = a_vm()
    params["macs"] = macs
    said = run(params, True)
    assert kernel.texts == []
    assert VmState(UUID).load() == note
    done = run(params, False)
    assert told(kernel) == ["stop crashed", "detach", "close"]
    assert said["changed"] is done["changed"] is True
    assert said["interfaces"] == done["interfaces"]
    (foreseen,), (words,) = said["warnings"], done["warnings"]
    assert foreseen.partition(";")[0] == words.partition(";")[0]
    again = run(params, False)
    assert (again["changed"], again["warnings"]) == (False, [])


NO_SUCH_NIC = (
    f"{OTHER} is unknown: VM web01 has no such NIC, and no record of it is in this host's audit logs, which begin at"
    " 1970-01-01T00:00:00.000Z. Nothing was detached; check the MAC"
)
NO_LOG = "this host has no readable audit log"
NO_SUCH_VM = f"VM web01 (uuid {UUID}) is unknown: no such VM runs here, and"


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("logs", "macs", "warnings"),
    [
        # A MAC that was detached before is not a typo.
        (Known(vm=True, macs={MAC}, begin=0.0), [MAC], []),
        (Known(vm=True, macs={MAC}, begin=0.0), ["all"], []),
        (Known(vm=True, macs={MAC}, begin=0.0), [MAC, OTHER], [NO_SUCH_NIC]),
        (
            Known(),
            [MAC, OTHER],
            [
                f"{NO_SUCH_VM} {NO_LOG}. Nothing was detached; check the name, the uuid and the host"
            ],
        ),
        (
            Known(namesakes={OTHER_UUID}, begin=0.0),
            ["all"],
            [
                f"{NO_SUCH_VM} no record of it is in this host's audit logs, which begin at 1970-01-01T00:00:00.000Z."
                f" Nothing was detached; a VM with that name has the uuid {OTHER_UUID}, so give that uuid"
            ],
        ),
    ],
)
def test_a_vm_or_a_mac_that_nobody_knows(
    params: dict[str, t.Any],
    monkeypatch: pytest.MonkeyPatch,
    logs: Known,
    macs: list[str],
    warnings: list[str],
    check_mode: bool,
) -> None:
    kernel = a_kernel(monkeypatch)
    logs_know(monkeypatch, logs)
    params["macs"] = macs
    found = run(params, check_mode)
    assert found["warnings"] == warnings
    assert {each["action"] for each in found["interfaces"]} <= {"absent"}
    assert (found["changed"], kernel.texts) == (False, [])


def test_an_unknown_mac_of_a_vm_that_has_ended(
    params: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_kernel(monkeypatch)
    a_vm()
    params["macs"] = [MAC, OTHER]
    found = run(params, False)
    assert found["warnings"][1:] == [NO_SUCH_NIC]
    assert [each["action"] for each in found["interfaces"]] == ["detached", "absent"]
