# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.tools import lanes
from ansible_collections.virtaudit.qemu.tests.unit.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not there")

MAKEFILE = """\
talk:
\t@for n in 1 2 3 4 5; do echo talk $(WORD) $$n; sleep 0.1; done
mumble:
\t@for n in 1 2 3 4 5; do echo mumble $$n; sleep 0.1; done
fail:
\t@echo failing; exit 3
policy:
\t@echo policy $$(ps -o cls= -p $$$$)
wait:
\t@sleep 600 & echo $$! >sleeper; echo $$$$ >shell; wait
"""


@pytest.fixture(name="tree")
def fixture_tree(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    return tmp_path


def start(tree: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(lanes.__file__)), *words],
        cwd=tree,
        # The environment of a child of make -j, which does not inherit the pipes of the job server.
        env={**os.environ, "MAKEFLAGS": " -j4 --jobserver-auth=98,99"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_output_of_layers_is_not_mixed(tree: Path) -> None:
    process = start(tree, "--lane", "talk", "--lane", "mumble", "WORD=loud")
    text, _none = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "".join(f"talk loud {n}\n" for n in range(1, 6)) in text
    assert "".join(f"mumble {n}\n" for n in range(1, 6)) in text
    # Both layers began before one of them ended.
    assert text.index("mumble: begins") < text.index("what it wrote")
    assert text.index("talk: begins") < text.index("what it wrote")
    assert "jobserver" not in text


def test_all_layers_run_even_if_one_fails(tree: Path) -> None:
    process = start(tree, "--lane", "fail mumble", "--lane", "talk")
    text, _none = process.communicate(timeout=60)
    assert "fail: ended with 2" in text
    assert "mumble: ended with 0" in text
    assert "talk: ended with 0" in text


def test_a_lane_aside_has_a_lower_priority(tree: Path) -> None:
    process = start(tree, "--aside", "policy", "--lane", "talk")
    text, _none = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "policy IDL\n" in text
    assert "talk: ended with 0" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_layers(tree: Path, number: signal.Signals) -> None:
    process = start(tree, "--lane", "wait talk", "--lane", "fail")
    pids = [tree / "sleeper", tree / "shell"]
    wait_until(lambda: all(path.exists() and path.read_text() for path in pids))
    process.send_signal(number)
    text, _none = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "talk: begins" not in text
    for path in pids:
        assert not Path("/proc", path.read_text().strip()).exists()
