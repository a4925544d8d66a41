# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks against real other processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import StateError
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import statedir
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import UUID, a_note

HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="base", autouse=True)
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(statedir, "BASE", str(tmp_path / "virtaudit"))
    statedir.prepare_base()
    return tmp_path / "virtaudit"


@pytest.fixture(name="hold")
def fixture_hold() -> t.Iterator[t.Callable[[str], subprocess.Popen[bytes]]]:
    """Starts processes that hold a lock until the test ends them."""
    children = []

    def hold(path: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        return child

    yield hold
    for child in children:
        child.kill()
        child.communicate()


Hold = t.Callable[[str], "subprocess.Popen[bytes]"]


@pytest.mark.parametrize("what", ["vm", "host"])
def test_a_lock_excludes_others_until_the_timeout(hold: Hold, what: str) -> None:
    state = VmState(UUID)
    os.mkdir(state.path)
    hold(state.path if what == "vm" else statedir.BASE)
    started = time.monotonic()
    with pytest.raises(StateError) as caught:
        enter(state.locked(0.3) if what == "vm" else statedir.host_locked(0.3))
    assert 0.25 < time.monotonic() - started < 5
    name, meaning = {
        "vm": (f"VM {UUID}", "nothing was changed, run the task again"),
        "host": (
            "the MACs of this host",
            "run the task again, which goes on from here",
        ),
    }[what]
    assert str(caught.value) == (
        f"another task works on {name} and did not finish within 0.3 s; {meaning}"
    )
    assert os.path.isdir(state.path)


def enter(lock: t.ContextManager[None]) -> None:
    with lock:
        raise AssertionError("the lock was given twice")


def test_a_lock_is_free_when_its_owner_dies(hold: Hold) -> None:
    state = VmState(UUID)
    os.mkdir(state.path)
    child = hold(state.path)
    threading.Timer(0.2, child.kill).start()
    started = time.monotonic()
    with state.locked(10):
        assert time.monotonic() - started > 0.15


def test_a_lock_is_exclusive_while_it_is_held() -> None:
    state = VmState(UUID)
    with state.locked(1):
        fd = os.open(state.path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fd)
    with state.locked(0):
        pass


def test_two_vms_do_not_wait_for_each_other() -> None:
    with VmState("one").locked(0), VmState("two").locked(0), statedir.host_locked(0):
        assert sorted(os.listdir(statedir.BASE)) == ["one", "two"]


@pytest.mark.parametrize("noted", [True, False])
def test_the_directory_is_removed_when_nothing_is_noted(noted: bool) -> None:
    state = VmState(UUID)
    with state.locked(1):
        assert os.stat(state.path).st_mode & 0o777 == 0o700
        if noted:
            state.save(a_note())
    assert os.path.exists(state.path) is noted


def test_an_error_releases_the_lock() -> None:
    with pytest.raises(ZeroDivisionError):
        fail_inside(VmState(UUID))
    with VmState(UUID).locked(0):
        pass


def fail_inside(state: VmState) -> None:
    with state.locked(1):
        raise ZeroDivisionError


def test_the_lock_of_a_removed_directory_is_worth_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = VmState(UUID)
    real = os.open
    inodes = []

    def open_and_lose(path: str, *args: t.Any) -> int:
        """Once, another task removes the directory between our open and our lock, and a third task makes it again."""
        fd = real(path, *args)
        if path == state.path:
            inodes.append(os.fstat(fd).st_ino)
            if len(inodes) == 1:
                os.rename(path, path + ".gone")
                os.mkdir(path, 0o700)
        return fd

    monkeypatch.setattr(os, "open", open_and_lose)
    with state.locked(5):
        assert len(inodes) == 2
        assert os.stat(state.path).st_ino == inodes[1]
        assert os.stat(state.path + ".gone").st_ino == inodes[0]


def test_a_directory_that_disappears_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = VmState(UUID)
    real = os.open
    opened = []

    def lose(path: str, *args: t.Any) -> int:
        opened.append(path)
        if len(opened) == 1:
            os.rmdir(path)
        fd = real(path, *args)
        if len(opened) == 2:
            os.rmdir(path)
        return fd

    monkeypatch.setattr(os, "open", lose)
    with state.locked(5):
        assert os.path.isdir(state.path)
    assert len(opened) == 3


COUNT = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import statedir
statedir.BASE = sys.argv[2]
for _turn in range(40):
    with statedir.VmState("vm").locked(60):
        with open(sys.argv[3]) as handle:
            number = int(handle.read())
        with open(sys.argv[3], "w") as handle:
            handle.write(str(number + 1))
"""


def test_many_tasks_that_make_and_remove_the_directory(
    tmp_path: Path, base: Path
) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    root = statedir.__file__.partition("/ansible_collections/")[0]
    command = [sys.executable, "-c", COUNT, root, str(base), str(counter)]
    children = [subprocess.Popen(command) for _number in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert counter.read_text() == "120"
    assert list(base.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else_at_the_path(base: Path, tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (base / UUID).touch()
    else:
        (base / UUID).symlink_to(tmp_path)
    with pytest.raises(StateError, match="cannot be used: "):
        enter(VmState(UUID).locked(1))
