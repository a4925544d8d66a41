# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import importlib
import marshal
import os
import resource
import sys
import traceback
import typing as t
import zipfile
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils import (
    _bytecode,
    _bytecode_keep,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._bytecode import Finder

Write = t.Callable[..., str]
ANSWER = "def answer():\n    return {}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the cache into a directory of the test."""
    path = tmp_path / "cache"
    monkeypatch.setattr(_bytecode, "CACHE", str(path))
    monkeypatch.setattr(_bytecode, "DIRECTORY", str(path / "bytecode"))
    return path


def kept_file(cache: Path) -> Path:
    return cache / "bytecode" / _bytecode.STAMP


class Task:
    """What belongs to one task: the zip file that Ansible sent, and the modules that were imported from it."""

    def __init__(
        self,
        directory: Path,
        sources: t.Mapping[str, str],
        method: int = zipfile.ZIP_DEFLATED,
    ) -> None:
        directory.mkdir()
        self.archive = str(directory / "payload.zip")
        with zipfile.ZipFile(self.archive, "w", method) as archive:
            archive.writestr("sent/__init__.py", "")
            archive.writestr("sent/deep/__init__.py", "")
            for name, source in sources.items():
                archive.writestr(f"sent/{name.replace('__', '/')}.py", source)
        self.finder = Finder(self.archive, _bytecode.read())

    def run(self, monkeypatch: pytest.MonkeyPatch, name: str) -> t.Any:
        for known in [each for each in sys.modules if each.split(".")[0] == "sent"]:
            del sys.modules[known]
        others = [each for each in sys.meta_path if not isinstance(each, Finder)]
        monkeypatch.setattr(sys, "meta_path", [self.finder, *others])
        monkeypatch.setattr(sys, "path", [self.archive, *sys.path])
        return importlib.import_module(name)


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[t.Any]:
    """Run ``answer()`` of a module in a task of its own. Return the answer, and how many modules were compiled."""

    def run(source: str, name: str = "module") -> tuple[t.Any, int]:
        task = Task(tmp_path / f"task{len(list(tmp_path.iterdir()))}", {name: source})
        module = task.run(monkeypatch, f"sent.{name.replace('__', '.')}")
        answer = module.answer()
        compiled = len(task.finder.compiled)
        _bytecode_keep.keep_bytecode()
        return answer, compiled

    yield run
    for known in [each for each in sys.modules if each.split(".")[0] == "sent"]:
        del sys.modules[known]


def test_a_module_is_compiled_once(tasks: t.Any) -> None:
    assert tasks(ANSWER.format(1)) == (1, 1)
    assert tasks(ANSWER.format(1)) == (1, 0)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_module_is_found_in_each_form_that_ansible_can_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    task = Task(tmp_path / "task", {"module": ANSWER.format(1)}, method)
    assert task.run(monkeypatch, "sent.module").answer() == 1
    assert len(task.finder.compiled) == 1
    assert task.finder.get_source("sent.module") == ANSWER.format(1)


def test_a_package_and_what_is_in_it_are_compiled_once(tasks: t.Any) -> None:
    assert tasks(ANSWER.format(1), "deep__module") == (1, 2)
    assert tasks(ANSWER.format(1), "deep__module") == (1, 0)


def test_the_sent_source_runs_and_not_older_bytecode(tasks: t.Any) -> None:
    assert tasks(ANSWER.format(1)) == (1, 1)
    assert tasks(ANSWER.format(2)) == (2, 1)
    # Of the same size.
    assert tasks(ANSWER.format(3)) == (3, 1)
    # Both are kept.
    assert tasks(ANSWER.format(1)) == (1, 0)
    assert tasks(ANSWER.format(2)) == (2, 0)


def test_bytecode_of_another_name_is_not_taken(tasks: t.Any) -> None:
    assert tasks(ANSWER.format(1)) == (1, 1)
    assert tasks(ANSWER.format(1), "other") == (1, 1)


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"",
        lambda content: content[:40],
        lambda content: content[:-1],
        lambda content: b"\0" * len(content),
        # The index, and the bytecode.
        lambda content: content[:60] + bytes([content[60] ^ 1]) + content[61:],
        lambda content: content[:-60] + bytes([content[-60] ^ 1]) + content[-59:],
        lambda content: content + b"\0" * _bytecode.MOST_BYTES,
        lambda content: content[32:],
        lambda content: bytes(32) + marshal.dumps({}),
    ],
)
def test_an_incomplete_file_is_thrown_away(
    tasks: t.Any, cache: Path, harm: t.Callable[[bytes], bytes]
) -> None:
    tasks(ANSWER.format(1))
    file = kept_file(cache)
    file.write_bytes(harm(file.read_bytes()))
    assert tasks(ANSWER.format(1)) == (1, 1)
    assert tasks(ANSWER.format(1)) == (1, 0)


def test_bytecode_of_another_source_is_not_taken(tasks: t.Any, cache: Path) -> None:
    tasks(ANSWER.format(1))
    tasks(ANSWER.format(2), "other")
    kept = _bytecode.read()
    (one, piece), (other, its_piece) = kept.items()
    swapped = _bytecode_keep.pack({one: its_piece, other: piece})
    kept_file(cache).write_bytes(swapped)
    assert tasks(ANSWER.format(1)) == (1, 1)


def test_bytecode_of_another_python_is_not_taken(
    tasks: t.Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks(ANSWER.format(1))
    content = kept_file(cache).read_bytes()
    monkeypatch.setattr(_bytecode, "STAMP", "cpython-39-610d0d0a-0")
    # The content of the other Python stands under this Python's name, too.
    kept_file(cache).write_bytes(content)
    assert tasks(ANSWER.format(1)) == (1, 1)


@pytest.mark.parametrize("who", ["cache", "bytecode", "file"])
@pytest.mark.parametrize("how", ["owner", "mode", "link"])
@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
def test_a_file_that_others_can_write_is_not_read(
    tasks: t.Any, cache: Path, tmp_path: Path, who: str, how: str
) -> None:
    tasks(ANSWER.format(1))
    path = {"cache": cache, "bytecode": cache / "bytecode", "file": kept_file(cache)}
    target = path[who]
    if how == "owner":
        os.chown(target, 65534, 65534)
    elif how == "mode":
        target.chmod(0o777)
    else:
        target.rename(tmp_path / "elsewhere")
        target.symlink_to(tmp_path / "elsewhere")
    assert _bytecode.read() == {}
    before = sorted(path for path in tmp_path.rglob("*") if path.name != "payload.zip")
    assert tasks(ANSWER.format(2)) == (2, 1)
    after = sorted(path for path in tmp_path.rglob("*") if path.name != "payload.zip")
    if who != "file":
        assert [
            each for each in after if each not in before and "task" not in each.name
        ] == []
    else:
        # Root's file has replaced it.
        assert not kept_file(cache).is_symlink()
        assert tasks(ANSWER.format(2)) == (2, 0)


def test_a_task_goes_on_when_nothing_can_be_kept(tasks: t.Any, cache: Path) -> None:
    cache.write_text("", encoding="utf-8")
    assert tasks(ANSWER.format(1)) == (1, 1)
    assert tasks(ANSWER.format(1)) == (1, 1)


def test_a_full_disk_does_not_damage_kept_bytecode(tasks: t.Any) -> None:
    tasks(ANSWER.format(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel accepts no larger file than this, and reports an error as for a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    try:
        assert tasks(ANSWER.format(1) + "#" * 64, "other") == (1, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tasks(ANSWER.format(1)) == (1, 0)


def test_a_task_does_not_wait_for_another_that_writes(
    tasks: t.Any, cache: Path
) -> None:
    tasks(ANSWER.format(1))
    fd = os.open(cache / "bytecode", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert tasks(ANSWER.format(2)) == (2, 1)
    finally:
        os.close(fd)
    assert tasks(ANSWER.format(2)) == (2, 1)
    assert tasks(ANSWER.format(2)) == (2, 0)


def test_the_cache_stays_small(
    tasks: t.Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bytecode, "MOST_BYTES", 2500)
    for number in range(30):
        tasks(ANSWER.format(number))
        assert kept_file(cache).stat().st_size <= 2500
    assert tasks(ANSWER.format(29)) == (29, 0)


def test_few_pythons_are_kept(
    tasks: t.Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        monkeypatch.setattr(_bytecode, "STAMP", f"python-{number}")
        tasks(ANSWER.format(number))
        os.utime(kept_file(cache), (number, number))
    assert len(list((cache / "bytecode").iterdir())) == 4
    assert kept_file(cache).exists()


def test_only_root_can_read_it(tasks: t.Any, cache: Path) -> None:
    tasks(ANSWER.format(1))
    modes = [each.stat().st_mode & 0o777 for each in (cache, cache / "bytecode")]
    assert modes == [0o700, 0o700]
    assert kept_file(cache).stat().st_mode & 0o777 == 0o600


def test_a_traceback_shows_the_line_that_was_sent(tasks: t.Any) -> None:
    source = "def answer():\n    return missing  # here\n"
    for _time in range(2):
        with pytest.raises(NameError) as caught:
            tasks(source)
        shown = "".join(
            traceback.format_exception(caught.type, caught.value, caught.tb)
        )
        assert 'File "sent/module.py", line 2' in shown
        assert "return missing  # here" in shown


def test_modules_outside_of_the_zip_file_are_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(tmp_path / "task", {})
    assert task.finder.find_spec("json", None) is None
    assert task.finder.find_spec("sent.none", [f"{task.archive}/sent"]) is None
    with pytest.raises(ModuleNotFoundError):
        task.run(monkeypatch, "sent.none")


def test_a_directory_is_no_zip_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    _bytecode.use_kept_bytecode()
    assert _bytecode.finder() is None
