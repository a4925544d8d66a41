# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import grp
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    check_file,
    check_files,
    trail_files,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.directory import (
    TrailError,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.file import (
    TrailFile,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.lines import Lines
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.trail import Trail
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import (
    BEGAN,
    a_record,
    a_run,
    a_task,
    write_trail,
)


def open_trail(directory: Path, number: int = 1) -> TrailFile:
    run = a_run(number)
    return TrailFile(str(directory), run.id, run.began)


def some_lines(count: int) -> list[dict[str, t.Any]]:
    lines = Lines(a_run())
    return [lines.record(a_task(), "Play", a_record(each)) for each in range(count)]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = write_trail(tmp_path / "new" / "trail")
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)]
    assert modes == [0o600, 0o700]


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "trail").symlink_to(tmp_path / "there")
    with pytest.raises(TrailError, match="symbolic link"):
        open_trail(tmp_path / "trail")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(TrailError, match="can be written by other users"):
        open_trail(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(TrailError, match="belongs to another user"):
        open_trail(tmp_path)


def test_a_link_above_the_directory_is_as_good_as_the_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    write_trail(tmp_path / "link" / "trail")
    (file,) = (tmp_path / "trail").iterdir()
    assert file.is_file()


def test_only_the_owner_can_enter_new_directories(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_trail(tmp_path / "one" / "two" / "trail")
    finally:
        os.umask(old)
    made = [tmp_path / "one", tmp_path / "one" / "two", tmp_path / "one/two/trail"]
    assert [stat.S_IMODE(each.stat().st_mode) for each in made] == [0o700] * 3


def test_a_directory_that_others_can_replace_is_refused(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "between").mkdir(parents=True)
    above.chmod(0o777)
    with pytest.raises(TrailError, match="above can be written by other users"):
        open_trail(above / "between" / "trail")
    # /tmp is such a directory.
    above.chmod(0o1777)
    open_trail(above / "between" / "trail").close(None)


def test_a_file_name_with_an_impossible_time_is_no_obstacle(tmp_path: Path) -> None:
    for number, time in enumerate(
        ("99991231T235959.999999Z", "99999999T999999.999999Z")
    ):
        (tmp_path / f"{time}-c1e2f3a4-0001-4000-8000-000000000000.jsonl").touch()
        open_trail(tmp_path, number).close(None)


def test_an_existing_file_is_neither_followed_nor_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_trail(tmp_path / "elsewhere").name
    (tmp_path / "trail").mkdir(mode=0o700)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "trail" / name).symlink_to(tmp_path / "victim")
    # This happens after the code has looked at the existing files.
    monkeypatch.setattr(os, "listdir", lambda _directory: [])
    with pytest.raises(TrailError, match="File exists"):
        open_trail(tmp_path / "trail")
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_parent_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrailError, match="cannot be made: Not a directory"):
        open_trail(tmp_path / "file" / "trail")


def test_lines_of_another_process_stay(tmp_path: Path) -> None:
    """The file is only appended to, and never overwritten."""
    file = open_trail(tmp_path)
    file.append(some_lines(1))
    with open(file.path, "ab") as handle:
        handle.write(b"forged\n")
    file.append(some_lines(1))
    file.close(None)
    assert Path(file.path).read_bytes().splitlines()[1] == b"forged"


@contextlib.contextmanager
def room_for(size: int) -> t.Iterator[None]:
    """Limit the size of files, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


def test_a_disk_that_is_full_from_the_start_leaves_no_file(tmp_path: Path) -> None:
    """Nothing could continue an empty file, and each later check would fail."""
    trail = Trail("/play.yml", 10)
    with room_for(100):
        with pytest.raises(TrailError, match="File too large"):
            trail.open(str(tmp_path))
        trail.close()
    assert [*tmp_path.iterdir()] == []


def test_a_group_that_this_user_cannot_give_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refuse)
    run, group = a_run(), grp.getgrgid(os.getgid()).gr_name
    with pytest.raises(TrailError, match="cannot be made: Operation not permitted"):
        TrailFile(str(tmp_path / "trail"), run.id, run.began, group)
    assert list((tmp_path / "trail").iterdir()) == []


def test_controllers_with_other_clocks_write_to_one_directory(tmp_path: Path) -> None:
    """Runs begin and end in another order than their clocks say, and another run continues each of them."""
    hours = {"a": 0, "b": -3, "c": 3, "d": 0, "e": -3}
    open_ones: dict[str, TrailFile] = {}
    # A capital letter ends the run.
    for number, step in enumerate("abcAdBCeDE"):
        name = step.lower()
        run = a_run(ord(name), began=BEGAN + datetime.timedelta(hours=hours[name]))
        if step == name:
            open_ones[name] = TrailFile(str(tmp_path), run.id, run.began)
            open_ones[name].append([Lines(run).opening()])
        else:
            summary = {"records": 0, "number": number}
            open_ones[name].close(Lines(run).closing(summary, None))
    files = check_files(trail_files(str(tmp_path)))
    assert [(each.status, each.problem) for each in files] == [("sound", None)] * 5


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    file = open_trail(tmp_path)
    file.append([Lines(a_run()).opening()])
    with room_for(5000), pytest.raises(TrailError, match="File too large"):
        file.append(some_lines(10))
    found = check_file(file.path)
    assert (found.status, found.torn, found.lines) == ("unfinished", False, file.lines)
    assert 1 < file.lines < 5
    # There is room again, so the callback writes the end.
    summary = {"records": file.lines - 1, "unwritten": 11 - file.lines}
    file.close(Lines(a_run()).closing(summary, "no room"))
    found = check_file(file.path)
    assert found.status == "sound"
    # The check reports the lines that, according to the run itself, the file does not have.
    assert f"could not write {summary['unwritten']} further lines" in found.describe()


def test_it_continues_the_newest_run_that_has_a_line(tmp_path: Path) -> None:
    write_trail(tmp_path, 1)
    path = write_trail(tmp_path, 2)
    head = json.loads(path.read_bytes().splitlines()[-1])["event"]["hash"]
    names = (path.name.replace("080002", f"0800{each}") for each in ("03", "04", "05"))
    empty, broken, link = (tmp_path / name for name in names)
    empty.touch()
    broken.write_text("rubbish\n")
    link.symlink_to("/etc/passwd")
    (tmp_path / "zzz.jsonl").write_text("not ours\n")
    file = open_trail(tmp_path, 10)
    file.close(None)
    assert file.previous == {"hash": head, "file": path.name, "closed": True}


def test_a_long_last_line_is_found(tmp_path: Path) -> None:
    path = write_trail(tmp_path, 1)
    lines = Lines(a_run(2))
    file = open_trail(tmp_path, 2)
    file.append([lines.opening()])
    file.close(lines.closing({"records": 0, "hosts": ["h" * 300_000]}, None))
    last = open_trail(tmp_path, 3)
    last.close(None)
    assert last.previous["file"] == os.path.basename(file.path) != path.name
    assert last.previous["closed"] is True


def test_the_look_of_another_run_does_not_keep_the_lock_from_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the run had no lock, later runs would vouch for a file that still grows."""
    lockf, looks = fcntl.lockf, [BlockingIOError(), PermissionError()]

    def busy(fd: t.Any, flags: int) -> None:
        if flags & fcntl.LOCK_EX and looks:
            raise looks.pop()
        lockf(fd, flags)

    monkeypatch.setattr(fcntl, "lockf", busy)
    file = open_trail(tmp_path)
    file.append(some_lines(1))
    look = "import fcntl, sys; fcntl.lockf(open(sys.argv[1]), fcntl.LOCK_SH | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", look, file.path]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    assert b"BlockingIOError" in done.stderr
    file.close(None)
