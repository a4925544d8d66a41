# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""If the kernel says that a tap is in another network namespace, its process does not count as a holder. Otherwise it does."""

from __future__ import annotations

import fcntl
import os
import sys

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._net.foreign_tap import (
    is_foreign,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    process_of,
)


@pytest.fixture(name="process")
def fixture_process(start: Start) -> Process:
    return process_of(start())


@pytest.mark.parametrize(
    ("namespace", "foreign"),
    [("/proc/self/ns/net", False), ("/proc/self/ns/uts", True)],
)
def test_the_kernel_says_where_a_tap_is(
    process: Process, monkeypatch: pytest.MonkeyPatch, namespace: str, foreign: bool
) -> None:
    before = os.listdir("/proc/self/fd")

    def answer(_fd: int, request: int, _argument: int) -> int:
        assert request == 0x54E3
        return os.open(namespace, os.O_RDONLY)

    monkeypatch.setattr(fcntl, "ioctl", answer)
    assert is_foreign(process, 0) is foreign
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_without_an_answer_a_tap_may_be_here(process: Process) -> None:
    # The first is no tap, and the second is not open.
    assert not is_foreign(process, 0)
    assert not is_foreign(process, 4000)
    dead = Process(process.pid, process.start_time - 1)
    assert not is_foreign(dead, 0)


def test_a_python_without_ctypes_does_not_ask(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    before = os.listdir("/proc/self/fd")
    assert not is_foreign(process, 0)
    assert len(os.listdir("/proc/self/fd")) == len(before)
