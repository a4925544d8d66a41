# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.benchmark import run
from ansible_collections.virtaudit.qemu.tests.benchmark.support import page, script
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import Figure

ENVIRONMENT = {"PYTHONPATH": str(script.ROOT.parents[2])}
FIGURE = Figure("sleep", "s", {"one": [1.0]})
TEXT = '''"""A benchmark: of nothing.

More of it.
"""
print("it printed this")
'''
FIGURES = (
    f"{TEXT}import os, pathlib\n"
    f'pathlib.Path(os.environ["BENCH_FIGURES"]).write_text({json.dumps([FIGURE.to_json()])!r})\n'
)


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ('"""NICs, beside libvirt.\n\nMore.\n"""\n', "NICs, beside libvirt"),
        ("x = 1\n", ""),
    ],
)
def test_title(source: str, title: str) -> None:
    assert run.title(source) == title


def ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *sources: str
) -> tuple[int, str]:
    """Run scripts; return the exit status and the page."""
    paths = []
    for number, source in enumerate(sources):
        path = tmp_path / f"script{number}.py"
        path.write_text(source)
        paths.append(str(path))
    shown = tmp_path / "page.md"
    shown.write_text(f"# Page\n\n{page.MARK}\n")
    options = ["--json", str(tmp_path / "out" / "all.json"), "--page", str(shown)]
    monkeypatch.setattr(sys, "argv", ["run.py", *options, *paths])
    return run.main(), shown.read_text()


def test_scripts_with_and_without_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, shown = ran(tmp_path, monkeypatch, FIGURES, TEXT)
    assert status == 0
    assert shown.count("### A benchmark: of nothing\n") == 2
    assert "| sleep | one | 1.00 s | 1.00 to 1.00 |  |  |" in shown
    assert shown.count("```text\nit printed this\n```") == 1
    kept = json.loads((tmp_path / "out" / "all.json").read_text())
    assert [len(each["figures"]) for each in kept["scripts"]] == [1, 0]
    assert kept["machine"]["processors"]
    assert kept["versions"]["Python"][0].isdigit()


def test_a_script_that_fails_leaves_the_page_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, shown = ran(tmp_path, monkeypatch, FIGURES, "raise SystemExit(3)")
    assert status == 1
    assert shown == f"# Page\n\n{page.MARK}\n"
    kept = json.loads((tmp_path / "out" / "all.json").read_text())
    assert [each["status"] for each in kept["scripts"]] == [0, 3]


def test_a_program_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        run,
        "PROGRAMS",
        {"none": ["/nowhere/program"], "core": ["echo", "x [core 2.19.4]"]},
    )
    assert run.versions() == {"core": "2.19.4"}


def test_sigterm_removes_what_was_set_up(tmp_path: Path) -> None:
    source = (
        "import os, signal\n"
        f"from {script.__name__} import end_by_exception\n"
        "end_by_exception()\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\nfinally:\n    print('down')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        check=False,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert (done.stdout, done.returncode) == ("down\n", 1)


def test_a_script_removes_what_it_set_up_when_the_run_is_ended(
    tmp_path: Path,
) -> None:
    up, down = tmp_path / "up", tmp_path / "down"
    path = tmp_path / "script.py"
    path.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_given: sys.exit(1))\n"
        "try:\n"
        f"    open({str(up)!r}, 'w').close()\n"
        "    time.sleep(60)\n"
        "finally:\n"
        f"    open({str(down)!r}, 'w').close()\n"
    )
    command = [sys.executable, run.__file__, str(path)]
    with subprocess.Popen(command, env=ENVIRONMENT) as process:
        while not up.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    assert process.returncode
    assert down.exists()
