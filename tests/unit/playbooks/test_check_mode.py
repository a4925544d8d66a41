# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks that write one answer for all hosts succeed in check mode, say that there is no answer, and write nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ansible
import pytest

from ansible_collections.virtaudit.qemu.tests.support.stub.collection import (
    ROOT,
    make_collection,
)


@pytest.mark.parametrize(
    ("name", "dest", "said"),
    [
        ("audit_report", "audit_report_dest", "To get the report"),
        ("audit_history", "audit_history_dest", "To get the answer"),
        ("trail_reconcile", "trail_reconcile_dest", "To compare the files"),
    ],
)
def test_check_mode_succeeds_and_says_that_there_is_no_answer(
    tmp_path: Path, name: str, dest: str, said: str
) -> None:
    make_collection(tmp_path)
    plugins = tmp_path / "ansible_collections" / "virtaudit" / "qemu" / "plugins"
    (plugins / "action").symlink_to(ROOT / "plugins" / "action")
    for module in ROOT.glob("plugins/modules/[at]*.py"):
        (plugins / "modules" / module.name).symlink_to(module)
    variables = {
        "ansible_become": False,
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "virtaudit_hosts": "localhost",
        "trail_reconcile_path": str(tmp_path),
        dest: str(tmp_path / "answer"),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible.cli.playbook", f"virtaudit.qemu.{name}"),
            *("--check", "-e", json.dumps(variables)),
        ],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(ansible.__file__).parents[1]),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert said in done.stdout
    assert not (tmp_path / "answer").exists()
