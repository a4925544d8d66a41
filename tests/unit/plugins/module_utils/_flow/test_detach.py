# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a detach will do, and what it says of a VM that is gone."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import detach
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_vm,
    told,
)

OTHER = "52:54:00:00:00:02"
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
        (["all", MAC], "all stands alone"),
        (["x"], r"macs\[0\]: 'x' is no MAC"),
    ],
)
def test_refused_macs(macs: list[str] | None, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        detach._parse_macs(macs, "never")


@pytest.mark.parametrize(
    ("force", "stop", "actions", "pending"),
    [
        (False, "never", ["detached", "absent"], [False, True]),
        (True, "never", ["revoked", "absent"], [False, True]),
        (True, "destroy", ["detached", "detached"], [False, False]),
    ],
)
def test_what_is_foreseen(
    force: bool, stop: str, actions: list[str], pending: list[bool]
) -> None:
    found = detach._predict([WHOLE, GUEST_SIDE], force, stop)
    assert [each.action for each in found] == actions
    assert [each.pending for each in found] == pending
    assert found[0].released == [tun(31)]


@pytest.fixture(name="params")
def fixture_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """A detach from a VM whose qemu is gone."""
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
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


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    with Auditor(params["audit"]) as auditor:
        report = Report(auditor)
        detach.run(params, check_mode, report)
        return report.result()


@pytest.mark.parametrize("macs", [["all"], [MAC], [OTHER]])
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
