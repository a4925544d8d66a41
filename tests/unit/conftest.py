# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from hypothesis import settings

from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import process
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import identity
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    children,
    without_others,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import show_in_proc

# There is no deadline, because machines that run tests are busy. There is no database, so that a run leaves nothing
# behind.
settings.register_profile("units", deadline=None, database=None, print_blob=True)
settings.load_profile("units")


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest print which tests took longest, because tests/tools/slowest.py reads that."""
    config.option.durations = 10


@pytest.fixture(name="start")
def fixture_start() -> t.Iterator[Start]:
    """Start children that sleep until the test is over."""
    with children() as start:
        yield start


@pytest.fixture(autouse=True)
def fixture_own_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test find the fake qemu of a test that another worker of pytest runs at the same time."""
    for module in (identity, process):
        monkeypatch.setattr(module, "all_processes", without_others)


@pytest.fixture(autouse=True)
def fixture_fake_qemus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let /proc show what the fake qemus of a test hold."""
    show_in_proc(monkeypatch)
