# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The next run finds an update that was cut off, and records its outcome once."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm, warnings_of
from ansible_collections.virtaudit.qemu.tests.fault import host, witness
from ansible_collections.virtaudit.qemu.tests.fault.cut import cut_off
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import attach

OLD: dict[str, Any] = {
    "mac": "52:54:00:fa:17:01",
    "source": host.BRIDGE,
    "vhost": "off",
}
NEW = {**OLD, "isolated": True, "link": "down"}
MAC, IFNAME = str(OLD["mac"]), "vt525400fa1701"
# The records of an update of both values: the value, its new setting, and the result.
DONE = [("isolated", "yes", "success"), ("link", "down", "success")]
FAILED = [("isolated", "yes", "failed"), ("link", "down", "failed")]
BACK = [("isolated", "no", "success"), ("link", "up", "success")]


def updates(vm: Vm) -> list[tuple[str, str, str]]:
    """Return each record of an update: the value, its new setting, and the result."""
    return [
        (name[len("new-") :], value, each["res"])
        for each in vm.records()
        if each.get("reason") == "update"
        for name, value in each.items()
        if name.startswith("new-")
    ]


def port() -> tuple[bool, bool]:
    """Return whether the NIC's port is isolated, and whether it is up."""
    said = subprocess.run(
        ["ip", "-j", "-d", "link", "show", IFNAME],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (link,) = json.loads(said)
    return link["linkinfo"]["info_slave_data"]["isolated"], "UP" in link["flags"]


# Where the update is cut off; the words of the next run of the same task; the records that exist after it.
CUTS: list[tuple[str, dict[str, Any], str, list[tuple[str, str, str]]]] = [
    # The note is written for the third time right before the link is changed.
    (
        "rename .*state.json",
        {"number": 3, "after": True},
        "recorded as failed and undone",
        [*FAILED, *DONE],
    ),
    ("record .*reason=update", {}, "it is on record now", DONE),
    ("record .*reason=update", {"after": True}, "it is on record now", DONE),
    (
        "record .*reason=update",
        {"number": 2, "after": True},
        "it is on record now",
        DONE,
    ),
]
IDS = ["noted", "made", "half-on-record", "on-record"]


@pytest.mark.parametrize(("at", "how", "says", "recorded"), CUTS, ids=IDS)
def test_invariant_7_the_same_task_again(
    vm: Vm,
    at: str,
    how: dict[str, Any],
    says: str,
    recorded: list[tuple[str, str, str]],
) -> None:
    assert not vm.attach([OLD]).get("failed")
    cut_off(attach(vm.uuid, [NEW]), at, **how)
    again = vm.attach([NEW])
    assert not again.get("failed"), again
    assert says in warnings_of(again)
    assert updates(vm) == recorded
    assert port() == (True, False)
    assert witness.violations(vm.uuid, [MAC], [MAC], True) == []
    assert vm.attach([NEW])["changed"] is False
    told = vm.info(verify=True)
    (grant,) = told["grants"]
    assert grant["network"]["isolated"] == "yes"
    assert grant["network"]["link"] == "down"
    assert told["findings"] == []


@pytest.mark.parametrize(("at", "how", "_says", "_recorded"), CUTS, ids=IDS)
def test_invariant_7_the_earlier_task(
    vm: Vm, at: str, how: dict[str, Any], _says: str, _recorded: object
) -> None:
    assert not vm.attach([OLD]).get("failed")
    cut_off(attach(vm.uuid, [NEW]), at, **how)
    back = vm.attach([OLD])
    assert not back.get("failed"), back
    assert port() == (False, True)
    assert updates(vm) in ([*DONE, *BACK], FAILED)
    assert vm.info(verify=True)["findings"] == []


@pytest.mark.parametrize(("at", "how", "_says", "recorded"), CUTS, ids=IDS)
def test_invariant_7_a_detach(
    vm: Vm,
    at: str,
    how: dict[str, Any],
    _says: str,
    recorded: list[tuple[str, str, str]],
) -> None:
    assert not vm.attach([OLD]).get("failed")
    cut_off(attach(vm.uuid, [NEW]), at, **how)
    done = vm.detach(force=True)
    assert not done.get("failed"), done
    assert updates(vm) == recorded[:2]
    assert witness.violations(vm.uuid, [MAC], [], True) == []


def test_invariant_7_a_link_that_cannot_be_put_back(vm: Vm) -> None:
    """The link's earlier bridge is gone. The task says so, and a detach still works."""
    subprocess.run(["ip", "link", "add", "vafault-b2", "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "link", "set", "vafault-b2", "up"], check=True)
        assert not vm.attach([{**OLD, "source": "vafault-b2"}]).get("failed")
        cut_off(attach(vm.uuid, [OLD]), "rename .*state.json", number=3, after=True)
    finally:
        subprocess.run(["ip", "link", "del", "vafault-b2"], check=True)
    done = vm.detach(force=True)
    assert not done.get("failed"), done
    assert "its link could not be put back" in warnings_of(done)
    assert updates(vm) == [("source", host.BRIDGE, "failed")]
    assert witness.violations(vm.uuid, [MAC], [], True) == []
