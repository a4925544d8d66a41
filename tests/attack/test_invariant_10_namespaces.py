# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task in another network namespace cannot hear the kernel, and says that it runs in such a namespace."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest

from ansible_collections.virtaudit.qemu.tests.attack.conftest import Vm, warnings_of
from ansible_collections.virtaudit.qemu.tests.fault import witness

_CLONE_NEWNET = 0x40000000
_SAID = "this task does not run in the host's network namespace"


@pytest.fixture(name="elsewhere")
def fixture_elsewhere() -> Iterator[None]:
    """Run this process, and the modules that it starts, in a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert libc.unshare(_CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(own, _CLONE_NEWNET) == 0
    finally:
        os.close(own)


@pytest.mark.usefixtures("elsewhere")
def test_invariant_10_another_namespace_is_named(vm: Vm) -> None:
    for check_mode in (True, False):
        refused = vm.attach([], _ansible_check_mode=check_mode)
        assert _SAID in refused["msg"]
    assert witness.qemus(vm.uuid) == []


@pytest.mark.usefixtures("elsewhere")
def test_invariant_10_best_effort_does_not_deny_what_was_written(vm: Vm) -> None:
    started = vm.attach([], audit="best_effort")
    assert not started.get("failed"), started
    assert _SAID in warnings_of(started)
    assert "not written" not in warnings_of(started)
    sent = [each["type"] for each in started["audit"]["records"]]
    assert [each["type"] for each in vm.records()] == sent != []
    assert {each["confirmed"] for each in started["audit"]["records"]} == {False}
