# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils import _proc
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    a_program,
    process_of,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.limits import (
    no_descriptor_left,
)

UUID = "c1e2f3a4-0001-4000-8000-000000000011"


def impostor_of(found: Process) -> Process:
    """Return the process that had the same pid before."""
    return Process(found.pid, found.start_time - 1)


def wait_zombie(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@contextlib.contextmanager
def ready(code: str) -> t.Iterator[subprocess.Popen[bytes]]:
    """Run Python code, and continue once it has printed something."""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            yield child
        finally:
            child.kill()


def test_a_living_process(start: Start) -> None:
    found = process_of(start())
    assert found.is_alive()
    assert not impostor_of(found).is_alive()
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime", encoding="ascii") as handle:
        age = float(handle.read().split()[0]) - found.start_time / ticks
    assert -1 < age < 120


@pytest.mark.parametrize(
    "look",
    [Process.is_alive, Process.fds, Process.command_line, Process.uid],
    ids=["is_alive", "fds", "command_line", "uid"],
)
def test_a_process_that_cannot_be_looked_at_has_not_ended(
    start: Start, look: t.Callable[[Process], t.Any]
) -> None:
    found = process_of(start())
    with no_descriptor_left(), pytest.raises(OSError, match="Too many open files"):
        look(found)
    assert found.is_alive()


def test_a_name_with_blanks_and_brackets() -> None:
    code = (
        "import ctypes, time; ctypes.CDLL(None).prctl(15, b'a) Z 1 (b', 0, 0, 0);"
        " print(1, flush=True); time.sleep(60)"
    )
    with ready(code) as child:
        before = Process.of(os.getpid())
        found = Process.of(child.pid)
    assert found is not None
    assert before is not None
    assert found.start_time >= before.start_time


def test_a_zombie_is_no_process(start: Start) -> None:
    child = start()
    found = process_of(child)
    child.kill()
    wait_zombie(child.pid)
    assert os.path.exists(f"/proc/{child.pid}")
    assert not found.is_alive()
    assert Process.of(child.pid) is None
    assert found.wait_end(0)
    assert found.fds() == set()
    assert found.command_line() == []
    assert found.exe() == ""


def test_a_process_whose_first_thread_has_ended() -> None:
    code = (
        "import ctypes, os, threading, time; fd = os.open('/dev/null', 0); os.dup2(fd, 200);"
        " threading.Thread(target=lambda: (time.sleep(0.2), print(1, flush=True), time.sleep(60))).start();"
        " ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)"
    )
    with ready(code) as child:
        with open(f"/proc/{child.pid}/stat", encoding="ascii") as handle:
            assert handle.read().split()[2] == "Z"
        found = process_of(child)
        assert found.is_alive()
        assert 200 in found.fds()
        assert not found.wait_end(0.1)
        found.kill()
        assert found.wait_end(10)
        assert found.fds() == set()


def test_an_ended_process(start: Start) -> None:
    child = start()
    found = process_of(child)
    child.kill()
    child.wait()
    assert Process.of(child.pid) is None
    assert not found.is_alive()
    assert found.wait_end(0)
    found.kill()
    assert found.fds() == set()
    assert found.uid() is None
    assert found.command_line() == []


def test_kill(start: Start) -> None:
    child = start()
    found = process_of(child)
    impostor_of(found).kill()
    assert not found.wait_end(0.1)
    assert child.poll() is None
    found.kill()
    assert found.wait_end(10)
    assert child.wait() == -signal.SIGKILL


def test_wait_end(start: Start) -> None:
    child = start()
    found = process_of(child)
    started = time.monotonic()
    assert not found.wait_end(0.2)
    assert 0.15 < time.monotonic() - started < 10
    assert impostor_of(found).wait_end(0)
    child.terminate()
    assert found.wait_end(10)


def test_fds_and_command_line(start: Start) -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 200, inheritable=False)
    child = start("-uuid", UUID, "\udcff", pass_fds=[200])
    found = process_of(child)
    assert 200 in found.fds()
    assert reader not in found.fds()
    assert found.command_line()[3:] == ["-uuid", UUID, "\udcff"]
    for fd in (reader, writer, 200):
        os.close(fd)


def test_exe_is_not_what_a_process_says(start: Start, tmp_path: Path) -> None:
    program = a_program(tmp_path / "qemu-system-x86_64")
    child = start(name="/usr/bin/init", program=program)
    assert process_of(child).exe() == str(program)
    # This is the state after an update of the package.
    program.unlink()
    assert process_of(child).exe() == str(program)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it")
def test_uid_of_a_process_that_cannot_be_dumped() -> None:
    code = (
        "import ctypes, os, time; os.setuid(65534); ctypes.CDLL(None).prctl(4, 0, 0, 0, 0);"
        " print(1, flush=True); time.sleep(60)"
    )
    with ready(code) as child:
        assert process_of(child).uid() == 65534


def test_a_copy_of_a_descriptor(start: Start) -> None:
    read_end, write_end = os.pipe()
    process = process_of(start(pass_fds=[write_end]))
    os.close(write_end)
    copy = process.copy_of(write_end)
    assert not os.get_inheritable(copy)
    os.write(copy, b"x")
    assert os.read(read_end, 1) == b"x"
    os.close(copy)
    os.close(read_end)
    for other, fd in ((process, 4000), (impostor_of(process), write_end)):
        with pytest.raises(OSError, match=r"Bad file descriptor|No such process"):
            other.copy_of(fd)


def test_group_of_a_thread() -> None:
    code = (
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start();"
        " print(1, flush=True); time.sleep(60)"
    )
    with ready(code) as child:
        threads = sorted(map(int, os.listdir(f"/proc/{child.pid}/task")))
        assert [_proc.group_of(thread) for thread in threads] == [child.pid] * 2
    assert _proc.group_of(2**22) is None


def test_all_processes(start: Start) -> None:
    dead = start()
    dead.kill()
    wait_zombie(dead.pid)
    child = start()
    found = list(_proc.all_processes())
    assert process_of(child) in found
    assert dead.pid not in [each.pid for each in found]


def test_boot_id() -> None:
    assert len(_proc.boot_id()) == 36
    assert _proc.boot_id() == _proc.boot_id()
