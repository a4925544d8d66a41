# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a playbook of the collection on this machine, under the ansible-playbook that runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import ansible

from ansible_collections.virtaudit.qemu.tests.support.stub.collection import (
    ROOT,
    make_collection,
)


def run_playbook(
    work: Path, name: str, *args: str, **variables: t.Any
) -> subprocess.CompletedProcess[str]:
    """Run it in a new directory. vm_net_audit_info is missing there, so no host gives an answer."""
    make_collection(work)
    plugins = work / "ansible_collections" / "virtaudit" / "qemu" / "plugins"
    (plugins / "action").symlink_to(ROOT / "plugins" / "action")
    for module in ROOT.glob("plugins/modules/[at]*.py"):
        (plugins / "modules" / module.name).symlink_to(module)
    given = {
        "ansible_become": False,
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "virtaudit_hosts": "localhost",
        **variables,
    }
    playbook = ("-m", "ansible.cli.playbook", f"virtaudit.qemu.{name}")
    return subprocess.run(
        [sys.executable, *playbook, *args, "-e", json.dumps(given)],
        cwd=work,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(ansible.__file__).parents[1]),
            "LC_ALL": "C.UTF-8",
            "PWD": str(work),
            "ANSIBLE_HOME": str(work / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(work),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
