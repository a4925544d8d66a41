# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import ProcessError
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import systemd
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import UUID

SCOPE = f"virtaudit-{UUID}.scope"
COMMAND = ["/usr/bin/python3", "-I", "/run/virtaudit/a.pyz", UUID, "4711", "99"]


def a_systemd_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    program = tmp_path / "systemd-run"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "asked"


def test_run_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = a_systemd_run(
        tmp_path, monkeypatch, f'printf "%s\\n" "$@" >{tmp_path}/asked'
    )
    systemd.run_after(SCOPE, UUID, COMMAND)
    words = asked.read_text().splitlines()
    assert words[-2:] == ["--", "true"]
    assert f"--unit=virtaudit-{UUID}-gone.service" in words
    # With After= the unit would run while qemu still lives.
    assert f"--property=Before={SCOPE}" in words
    assert f"--property=BindsTo={SCOPE}" in words
    assert "--property=After=auditd.service" in words
    assert f"--property=ExecStopPost={' '.join(COMMAND)}" in words
    assert not [word for word in words if word.startswith("--property=After=virt")]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Unit x not found.' >&2; exit 1", r"^Unit x not found\.$"),
        ("exit 3", "exit status 3"),
    ],
)
def test_systemd_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    a_systemd_run(tmp_path, monkeypatch, script)
    with pytest.raises(ProcessError, match=message):
        systemd.run_after(SCOPE, UUID, COMMAND)


def test_there_is_no_systemd_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProcessError, match=r"systemd-run: .*No such file"):
        systemd.run_after(SCOPE, UUID, COMMAND)


@pytest.mark.parametrize(
    "word", ["/opt/my python/python3", "/opt/$HOME/python3", "/a;b", "%h", "é", ""]
)
def test_a_value_that_systemd_would_change(word: str) -> None:
    with pytest.raises(ProcessError, match="a systemd unit cannot contain"):
        systemd.run_after(SCOPE, UUID, [word, *COMMAND[1:]])


def test_wait_unloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "_TRANSIENT", str(tmp_path))
    systemd.wait_unloaded(SCOPE, 0)
    unit = tmp_path / SCOPE
    unit.touch()
    systemd.wait_unloaded(SCOPE, 0.1)
    assert unit.exists()
    timer = threading.Timer(0.1, unit.unlink)
    timer.start()
    begun = time.monotonic()
    systemd.wait_unloaded(SCOPE, 60)
    assert not unit.exists()
    assert time.monotonic() - begun < 30
    timer.join()
