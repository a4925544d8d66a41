# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task that is given a monitor which nobody serves."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    UnreachableError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._module import find
from ansible_collections.virtaudit.qemu.plugins.module_utils._module.session import (
    Session,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.process import (
    Process,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    process_of,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import a_base


def a_session(tmp_path: Path) -> Session:
    params = {
        "name": "web01",
        "uuid": UUID,
        "qmp_socket": str(tmp_path / "gone.sock"),
        "audit": "required",
        "timeout": 1,
    }
    return Session(params, True)


@pytest.fixture(name="only")
def fixture_only(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    """Let nothing run but some processes."""

    def only(*processes: Process) -> None:
        monkeypatch.setattr(find, "all_processes", lambda: processes)

    return only


def test_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start, only: t.Any
) -> None:
    a_base(tmp_path, monkeypatch)
    words = ("-name", "db01", "-uuid", "x")
    only(
        process_of(start(*words, name="qemu-system-x86_64")),
        process_of(start("-name", "web01", name="virtqemud")),
    )
    with a_session(tmp_path) as looked:
        assert not looked.running
        # An attach would have nothing to attach to.
        with pytest.raises(UnreachableError, match="there is no QMP socket"):
            looked.require_reached()


@pytest.mark.parametrize(
    "words",
    [
        ("-name", "web01", "-uuid", "x"),
        ("-name", "guest=web01,debug-threads=on"),
        ("-name", "db01", "-uuid", UUID.upper()),
        ("-uuid", "x"),
    ],
)
def test_one_that_may_be_it_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Start,
    only: t.Any,
    words: tuple[str, ...],
) -> None:
    a_base(tmp_path, monkeypatch)
    only(process_of(start(*words, name="/usr/libexec/qemu-kvm")))
    with pytest.raises(UnreachableError), a_session(tmp_path):
        pass
