# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check mode changes nothing, and says what the real run then does, including its repairs."""

from __future__ import annotations

import os
import signal

import pytest

from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm
from ansible_collections.virtaudit.qemu.tests.fault import runner, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    MACVTAP,
    TAP,
    attach,
    detach,
)
from ansible_collections.virtaudit.qemu.tests.support.warning_texts import (
    warning_texts,
)

# No VM ever had it, which gives a warning of its own.
NEVER = "52:54:00:fa:17:09"


def foretold(said: runner.Result, done: runner.Result, typo: bool) -> tuple[str, str]:
    """Return the only warning of check mode and of the run, without the warning about the MAC that no VM ever had."""
    both = [warning_texts(result) for result in (said, done)]
    known = [
        [text for text in texts if not text.startswith(f"{NEVER} is unknown")]
        for texts in both
    ]
    assert [len(texts) - len(kept) for texts, kept in zip(both, known)] == [typo, typo]
    (foreseen,), (words,) = known
    return foreseen, words


@pytest.mark.parametrize("task", ["attach", "detach"])
def test_invariant_9_the_end_of_another_vm(vm: Vm, other: Vm, task: str) -> None:
    assert not vm.attach([TAP]).get("failed")
    started = runner.run_module(
        *attach(other.uuid, [MACVTAP], {"accel": "tcg", "memory": "64"})
    )
    pid = started["vm"]["pid"]
    os.kill(pid, signal.SIGKILL)
    while os.path.exists(f"/proc/{pid}/fd") and witness.qemus(other.uuid):
        pass
    if task == "attach":
        name, options = attach(vm.uuid, [TAP])
    else:
        name, options = detach(vm.uuid)
        options["macs"] = [NEVER]
    before = vm.records() + other.records()
    said = runner.run_module(name, {**options, "_ansible_check_mode": True})
    assert vm.records() + other.records() == before
    done = runner.run_module(name, options)
    assert len(done["audit"]["records"]) == 3
    assert said["changed"] is True
    assert done["changed"] is True
    foreseen, words = foretold(said, done, task == "detach")
    assert f"pid {pid}" in foreseen
    assert f"pid {pid}" in words


@pytest.mark.parametrize("macs", [MACS[:1], [NEVER]])
def test_invariant_9_the_end_of_its_own_vm(vm: Vm, macs: list[str]) -> None:
    pid = vm.attach([TAP, MACVTAP])["vm"]["pid"]
    os.kill(pid, signal.SIGKILL)
    while witness.qemus(vm.uuid):
        pass
    before = vm.records()
    said = vm.detach(macs=macs, _ansible_check_mode=True)
    assert vm.records() == before
    done = vm.detach(macs=macs)
    assert len(vm.records()) > len(before)
    assert said["changed"] is done["changed"] is True
    assert said["interfaces"] == done["interfaces"]
    foreseen, words = foretold(said, done, NEVER in macs)
    assert foreseen.partition(";")[0] == words.partition(";")[0]
