# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""extensions/molecule/run with a molecule that starts a process for a virtual hypervisor, and then takes its time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.unit.support.waiting import wait_until

RUN = Path(__file__).resolve().parents[3] / "extensions" / "molecule" / "run"
MOLECULE = """\
#!/bin/sh
case $1 in
    create)
        mkdir -p "$VIRTAUDIT_RUN/hv1"
        setsid sh -c 'echo $$ >"$0/vm"; while :; do sleep 1; done' "$0.d" "$VIRTAUDIT_RUN/hv1/pid" >/dev/null 2>&1 &
        ;;
    test)
        sleep 600 &
        echo $! >"$0.d/sleeper"
        echo $$ >"$0.d/molecule"
        wait
        ;;
esac
"""

pytestmark = pytest.mark.skipif(
    not shutil.which("setsid"), reason="setsid is not there"
)


@pytest.fixture(name="home")
def fixture_home(tmp_path: Path) -> t.Iterator[Path]:
    """Yield the directory in which the molecule writes pids."""
    molecule = tmp_path / "molecule"
    molecule.write_text(MOLECULE)
    molecule.chmod(0o755)
    home = tmp_path / "molecule.d"
    home.mkdir()
    yield home
    for path in home.iterdir():
        if path.read_text() and alive(path):
            os.kill(int(path.read_text()), signal.SIGKILL)


def alive(path: Path) -> bool:
    try:
        stat = Path("/proc", path.read_text().strip(), "stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_processes(
    home: Path, number: signal.Signals, read: bool
) -> None:
    environment = {
        **os.environ,
        "PATH": f"{home.parent}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(home.parent / "cache"),
    }
    pids = [home / name for name in ("vm", "sleeper", "molecule")]
    with subprocess.Popen(
        [str(RUN), "fleet"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        wait_until(lambda: all(path.exists() and path.read_text() for path in pids))
        assert all(map(alive, pids))
        if not read:
            # The reader of the pipe may get the same signal, and end.
            process.stdout.close()
        process.send_signal(number)
        try:
            assert process.wait(60) == 1
        finally:
            process.kill()
        if read:
            assert "ended by a signal" in process.stdout.read()
    wait_until(lambda: not any(map(alive, pids)))
