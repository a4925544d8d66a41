# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.tools import demo

PRINTED = """
TASK [Prepare the machine] ********************
ok: [localhost]
TASK [virtaudit.qemu.auditd : Prepare the machine] ***
ok: [localhost]
TASK [A part of a step] ****
TASK [Stop the VM] ****
"""


@pytest.fixture(autouse=True)
def playbook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "demo.yml"
    path.write_text(
        "- name: Show it\n  tasks:\n    - name: Prepare the machine\n    - name: Stop the VM\n"
    )
    monkeypatch.setattr(demo, "PLAYBOOK", path)


def test_the_steps_are_printed_and_the_log_has_everything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = io.StringIO()

    demo.follow(io.StringIO(PRINTED), log)

    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" s  ")[1] for line in printed] == [
        "Prepare the machine",
        "Stop the VM",
    ]
    assert log.getvalue() == PRINTED


def test_a_step_that_takes_long_is_printed_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_QUIET_SECONDS", 0)

    demo.follow(io.StringIO("TASK [Stop the VM] ***\nok: [localhost]\n"), io.StringIO())

    printed = capsys.readouterr().out.splitlines()
    assert {line.split(" s  ")[1] for line in printed} == {"Stop the VM"}
    assert len(printed) >= 2
