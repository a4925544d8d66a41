# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import (
    auditd_conf,
    files,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.files import (
    LogFile,
    host_logs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.given import (
    given_logs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.rotations import (
    rotated,
)


def first(seconds: int) -> bytes:
    return f"type=X msg=audit({seconds}.000:1): x\n".encode()


def test_path_is_the_daemons(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert auditd_conf.log_path() == str(path)
    monkeypatch.setattr(auditd_conf, "_CONFIGURATION", "/nonexistent")
    assert auditd_conf.log_path() == "/var/log/audit/audit.log"


def test_rotated_files_are_older_by_their_number(path: Path) -> None:
    for name in ("audit.log", "audit.log.1", "audit.log.2.gz", "audit.log.10"):
        (path.parent / name).write_bytes(first(1))
    for name in ("audit.log.x", "audit.log.1.bak", "other.log.3", "audit.log."):
        (path.parent / name).write_bytes(first(1))
    with host_logs() as (logs, unread):
        assert [os.path.basename(log.path) for log in logs] == [
            "audit.log.10",
            "audit.log.2.gz",
            "audit.log.1",
            "audit.log",
        ]
        assert not unread


def test_rotated_files_with_a_date_in_place_of_a_number(path: Path) -> None:
    for at, name in (
        (10, "audit.log.2"),
        (20, "audit.log.1"),
        (30, "audit.log-20260101"),
        # The clock was set back.
        (25, "audit.log-20260108.gz"),
        (35, "audit.log-2026010901"),
        (40, "audit.log"),
    ):
        text = first(at)
        if name.endswith(".gz"):
            text = gzip.compress(text)
        (path.parent / name).write_bytes(text)
    for name in ("audit.log-2026", "audit.log-20260101.bak", "audit.log-old"):
        (path.parent / name).write_bytes(first(1))
    with host_logs() as (logs, unread):
        assert [os.path.basename(log.path) for log in logs] == [
            "audit.log.2",
            "audit.log.1",
            "audit.log-20260101",
            "audit.log-20260108.gz",
            "audit.log-2026010901",
            "audit.log",
        ]
        assert not unread


def test_a_file_that_is_not_packed_as_its_name_says(path: Path) -> None:
    path.write_bytes(first(1))
    for name in ("audit.log.1.xz", "audit.log-20260101.zst", "audit.log.2.bz2"):
        (path.parent / name).write_bytes(b"x")
    with host_logs() as (logs, unread):
        assert [log.path for log in logs] == [str(path)]
        assert {(os.path.basename(each.path), each.problem) for each in unread} == {
            (
                "audit.log.1.xz",
                "its name ends in .xz, but its content is not packed that way",
            ),
            (
                "audit.log.2.bz2",
                "its name ends in .bz2, but its content is not packed that way",
            ),
            (
                "audit.log-20260101.zst",
                "its name ends in .zst, but its content is not packed that way",
            ),
        }


def test_a_host_without_a_log(path: Path) -> None:
    with host_logs() as (logs, unread):
        assert logs == []
        assert [(each.path, each.problem) for each in unread] == [
            (str(path), "No such file or directory")
        ]


def test_a_rotation_while_they_are_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(first(1))
    calls: list[list[str]] = []

    def rotate_after_listing(name: str) -> list[str]:
        found = rotated(name)
        if not calls:
            path.rename(f"{path}.1")
            path.write_bytes(first(2))
        calls.append(found)
        return found

    monkeypatch.setattr(files, "rotated", rotate_after_listing)
    with host_logs() as (logs, _unread):
        # The old file was not among the rotated files yet when the code listed them.
        assert [log.head() for log in logs] == [first(1), first(2)]
    real_open = files.open_all
    rotations: list[str] = []

    def rotate_after_opening(*arguments: object) -> object:
        result = real_open(*arguments)  # type: ignore[arg-type]
        if not rotations:
            rotations.append("once")
            path.rename(f"{path}.2")
            path.write_bytes(first(3))
        return result

    monkeypatch.setattr(files, "open_all", rotate_after_opening)
    with host_logs() as (logs, _unread):
        assert [log.head() for log in logs][-1] == first(3)
        assert len(logs) == 3


def test_a_rotation_between_the_opens_of_two_files(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(first(2))
    older = Path(f"{path}.1")
    older.write_bytes(first(1))
    rotated: list[str] = []

    class Rotating(LogFile):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            if name == str(older) and not rotated:
                rotated.append(name)
                older.rename(f"{path}.2")
                path.rename(older)
                path.write_bytes(first(3))

    monkeypatch.setattr(files, "LogFile", Rotating)
    with host_logs() as (logs, _unread):
        assert [log.head() for log in logs] == [first(1), first(2), first(3)]


def test_a_file_is_read_up_to_its_size_at_the_open(path: Path) -> None:
    path.write_bytes(first(1))
    with host_logs() as (logs, _unread):
        with path.open("ab") as handle:
            handle.write(first(2))
        assert b"".join(logs[0].blocks(7)) == first(1)
        os.truncate(path, 5)
        assert b"".join(logs[0].blocks(7)) == first(1)[:5]
        assert logs[0].read_at(3, 100) == first(1)[3:5]


def test_given_logs_are_ordered_by_their_first_record(tmp_path: Path) -> None:
    names = []
    for name, content in (
        ("b", first(20)),
        ("a", first(30)),
        ("c.gz", gzip.compress(first(10))),
    ):
        (tmp_path / name).write_bytes(content)
        names.append(str(tmp_path / name))
    os.link(tmp_path / "a", tmp_path / "again")
    with given_logs([*names, str(tmp_path / "again"), names[0]]) as (logs, unread):
        assert [os.path.basename(log.path) for log in logs] == ["c.gz", "b", "a"]
        assert [log.first_event() for log in logs] == [(10.0, 1), (20.0, 1), (30.0, 1)]
        assert not unread


def test_given_logs_of_one_name_are_ordered_by_their_number(tmp_path: Path) -> None:
    """Somebody may have set the clock back between two rotations, and another directory may have logs of another clock."""
    for name, at in (
        ("a/audit.log.2", 50),
        ("a/audit.log.1.gz", 20),
        ("a/audit.log", 60),
        ("b/audit.log.1", 10),
        ("b/audit.log", 55),
        ("c", 70),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = first(at)
        (tmp_path / name).write_bytes(
            gzip.compress(text) if name.endswith(".gz") else text
        )
    wanted = [
        "b/audit.log.1",
        "a/audit.log.2",
        "a/audit.log.1.gz",
        "b/audit.log",
        "a/audit.log",
        "c",
    ]
    for names in (sorted(wanted), sorted(wanted, reverse=True)):
        with given_logs([str(tmp_path / name) for name in names]) as (logs, _unread):
            assert [os.path.relpath(log.path, tmp_path) for log in logs] == wanted


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "rubbish").write_bytes(b"\0\1\2" * 100)
    (tmp_path / "empty").write_bytes(b"")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "future").write_bytes(first(999999999990))
    (tmp_path / "bare").mkdir()
    paths = ["missing", "bare", "fifo", "rubbish", "empty", "future", "no*thing"]
    with given_logs([str(tmp_path / name) for name in paths]) as (logs, unread):
        assert {os.path.basename(log.path) for log in logs} == {"empty"}
        assert {(os.path.basename(each.path), each.problem) for each in unread} == {
            ("missing", "No such file or directory"),
            ("bare", "the directory has no file"),
            ("fifo", "it is not a regular file"),
            ("rubbish", "it has no audit record"),
            ("future", "it has no audit record"),
            ("no*thing", "no file matches"),
        }
        assert [log.first_event() for log in logs] == [(0.0, 0)]


def test_closes_what_it_opened(path: Path) -> None:
    path.write_bytes(first(1))
    before = os.listdir("/proc/self/fd")
    with host_logs() as (logs, _unread):
        assert len(logs) == 1
    with pytest.raises(FileNotFoundError):
        LogFile(str(path) + ".9")
    with pytest.raises(IsADirectoryError):
        LogFile(str(path.parent))
    assert os.listdir("/proc/self/fd") == before
