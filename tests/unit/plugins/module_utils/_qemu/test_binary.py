# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The path of qemu on hosts of several distributions."""

from __future__ import annotations

import os
import types
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import launch


def put(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the root of a host without qemu."""
    usual = launch.usual_binaries()
    assert usual[0] == "/usr/libexec/qemu-kvm"
    moved = [f"{tmp_path}{name}" if "/" in name else name for name in usual]
    monkeypatch.setattr(launch, "usual_binaries", lambda: moved)
    monkeypatch.setenv("PATH", f"{tmp_path}/usr/bin")
    return tmp_path


def test_none_is_given(host: Path) -> None:
    with pytest.raises(
        OptionError, match=r"qemu-kvm or qemu-system-.* not on this host"
    ):
        launch.find_binary(None)
    kvm = put(host / "usr/bin/kvm")
    assert launch.find_binary(None) == kvm
    system = put(host / f"usr/bin/qemu-system-{os.uname().machine}")
    assert launch.find_binary(None) == system
    family = put(host / "usr/libexec/qemu-kvm")
    assert launch.find_binary(None) == family


def test_one_is_given(host: Path) -> None:
    put(host / "usr/libexec/qemu-kvm")
    with pytest.raises(OptionError, match="mine is not on this host"):
        launch.find_binary("mine")
    mine = put(host / "usr/bin/mine")
    assert launch.find_binary("mine") == mine


def test_a_path_from_the_directory_of_the_task(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """qemu does not start in that directory, so the run would not find it although check mode did."""
    mine = put(host / "opt/mine")
    monkeypatch.chdir(host)
    assert launch.find_binary("opt/mine") == mine
    monkeypatch.setenv("PATH", "opt")
    assert launch.find_binary("mine") == mine


def test_a_program_that_prints_something_else_is_refused(tmp_path: Path) -> None:
    mine = Path(put(tmp_path / "mine"))
    mine.write_bytes(b"#!/bin/sh\nprintf '\\377'\n")
    with pytest.raises(OptionError, match="does not print a version of qemu"):
        launch.version_of(str(mine))


@pytest.mark.parametrize(("machine", "name"), [("i686", "x86_64"), ("aarch64",) * 2])
def test_the_hosts_architecture(
    machine: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine=machine))
    assert launch.usual_binaries()[1] == f"qemu-system-{name}"
