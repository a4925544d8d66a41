# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail import chain
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    check_file,
    check_files,
    trail_files,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.line import (
    seal,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.verify import (
    main,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import write_trail

Lines = list[bytes]
NAME = b"20261123T075900.000000Z-c1e2f3a4-0001-4000-8000-000000000000.jsonl"


def forge(line: bytes, old: bytes, new: bytes) -> bytes:
    """Change a line and compute its hash again."""
    body, _comma, _hash = line.replace(old, new).rpartition(b',"hash":"')
    digest = hashlib.sha256(body).hexdigest().encode("ascii")
    return b'%s,"hash":"%s"}}\n' % (body, digest)


def test_a_sound_trail(tmp_path: Path) -> None:
    found = check_file(str(write_trail(tmp_path)))
    assert (found.status, found.lines, found.records) == ("sound", 5, 3)


def test_the_hash_is_one_that_other_tools_can_compute(tmp_path: Path) -> None:
    lines = write_trail(tmp_path).read_bytes().splitlines()
    bodies = [re.sub(rb',"hash":"[0-9a-f]{64}"\}\}$', b"", line) for line in lines]
    hashes = [json.loads(line)["event"]["hash"] for line in lines]
    assert hashes == [hashlib.sha256(body).hexdigest() for body in bodies]
    previous = [json.loads(line)["virtaudit"]["previous"]["hash"] for line in lines]
    assert previous == ["0" * 64, *hashes[:-1]]


def test_any_bit_that_is_flipped_is_found_in_its_line(tmp_path: Path) -> None:
    path = write_trail(tmp_path)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        bad = bytearray(whole)
        bad[position] ^= 1 << position % 8
        path.write_bytes(bad)
        found = check_file(str(path))
        assert found.problem is not None, position
        if whole[position : position + 1] != b"\n" and bad[position] != 0x0A:
            assert found.problem.line == whole.count(b"\n", 0, position) + 1


OTHER_KINDS = (
    (b'"sequence":1', rb'"sequence":"\u001b[2K\rsound"'),
    (b'"sequence":1', rb'"sequence":"\ud800"'),
    (b'"sequence":1', b'"sequence":' + b"[" * 50000 + b"]" * 50000),
    (b'"previous":{', rb'"previous":{"file":"\u001b[2K\rsound",'),
    (b'"previous":{', b'"previous":{"file":7,'),
    (b'"previous":{', b'"previous":{"file":"%s","also":7,' % NAME),
    (b'"previous":{', b'"previous":{"file":"%s","also":[[]],' % NAME),
    (b'"action":"run_start"', b'"action":["run_start"]'),
    (b'"hash":"0000', b'"hash":0,"hush":"0000'),
)

# what is done, the line that the message names, the text of the message
TAMPERED: list[tuple[str, t.Callable[[Lines], Lines], int, str]] = [
    ("drop", lambda x: [*x[:2], *x[3:]], 3, "written as line 4"),
    ("drop the first", lambda x: x[1:], 1, "written as line 2"),
    ("swap", lambda x: [*x[:1], x[2], x[1], *x[3:]], 2, "written as line 3"),
    ("repeat", lambda x: [*x[:2], x[1], *x[2:]], 3, "written as line 2"),
    ("append", lambda x: [*x, x[1]], 6, "after the closing line"),
    ("append half a line", lambda x: [*x, b"{"], 6, "after the closing line"),
    (
        "append a forged line before the end",
        lambda x: [*x[:4], forge(x[3], b'"sequence":4', b'"sequence":5'), x[4]],
        5,
        "does not follow",
    ),
    (
        "change and hash anew",
        lambda x: [*x[:2], forge(x[2], b"web01", b"web02"), *x[3:]],
        4,
        "does not follow",
    ),
    (
        "another run's",
        lambda x: [*x[:1], forge(x[1], b"8000-000000000001", b"8000-000000000002")],
        2,
        "another run",
    ),
    (
        "count others",
        lambda x: [*x[:4], forge(x[4], b'"records":3', b'"records":2')],
        5,
        "counts other records",
    ),
    ("rubbish", lambda x: [*x[:1], b"hello\n", *x[1:]], 2, "no hash"),
    ("no line of ours", lambda x: [seal({"event": {}})[0]], 1, "no line of a trail"),
    (
        "members of another kind",
        lambda x: [forge(x[0], b'"run":{"id"', b'"run":{"ID"')],
        1,
        "no line of a trail",
    ),
    *(
        (
            f"members of another kind {number}",
            lambda x, old=old, new=new: [forge(x[0], old, new), *x[1:]],
            1,
            "no line of a trail",
        )
        for number, (old, new) in enumerate(OTHER_KINDS)
    ),
    (
        "a summary that is none",
        lambda x: [*x[:4], forge(x[4], b'"summary":{', b'"summary":7,"s":{')],
        5,
        "no line of a trail",
    ),
]


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [each[1:] for each in TAMPERED],
    ids=[each[0] for each in TAMPERED],
)
def test_the_message_names_the_line_that_was_changed(
    tmp_path: Path, change: t.Callable[[Lines], Lines], line: int, said: str
) -> None:
    path = write_trail(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))
    found = check_file(str(path))
    assert found.status == "broken"
    assert found.problem is not None
    assert found.problem.line == line
    assert said in str(found.problem)


def test_no_record_passes_for_the_end_of_a_run(tmp_path: Path) -> None:
    path = write_trail(tmp_path, end=False)
    lines = path.read_bytes().splitlines(keepends=True)
    forged = forge(lines[-1], b'"action":"open"', b'"action":"run_end"')
    path.write_bytes(b"".join([*lines[:-1], forged]))
    assert check_file(str(path)).status == "unfinished"


def test_a_run_that_was_cut_off_is_unfinished_and_not_broken(tmp_path: Path) -> None:
    path = write_trail(tmp_path)
    whole = path.read_bytes()
    for size in range(0, len(whole) - 1, 13):
        path.write_bytes(whole[:size])
        found = check_file(str(path))
        assert found.status == "unfinished"
        assert found.lines == whole[:size].count(b"\n")
        assert found.torn == (size > 0 and whole[size - 1 : size] != b"\n")
    assert "there is no closing line" in found.describe()


class TestRuns:
    """The runs of one directory."""

    @pytest.fixture(name="paths")
    def fixture_paths(self, tmp_path: Path) -> list[Path]:
        return [write_trail(tmp_path, number) for number in (1, 2, 3)]

    def check(self, tmp_path: Path) -> list[tuple[str, str]]:
        files = check_files(trail_files(str(tmp_path)))
        return [(each.status, str(each.problem or "")) for each in files]

    def test_sound(self, paths: list[Path], tmp_path: Path) -> None:
        assert self.check(tmp_path) == [("sound", "")] * 3

    def test_rewritten_as_a_whole(self, paths: list[Path], tmp_path: Path) -> None:
        """Every hash of the second run is right, but the third run shows that the file was changed."""
        paths[1].unlink()
        kept = paths[2].read_bytes()
        paths[2].unlink()
        assert write_trail(tmp_path, 2, records=2).name == paths[1].name
        paths[2].write_bytes(kept)
        states = self.check(tmp_path)
        assert [state for state, _problem in states] == ["sound", "sound", "broken"]
        assert f"{paths[1].name} was cut or rewritten" in states[2][1]

    def test_cut(self, paths: list[Path], tmp_path: Path) -> None:
        lines = paths[1].read_bytes().splitlines(keepends=True)
        paths[1].write_bytes(b"".join(lines[:-1]))
        assert [each[0] for each in self.check(tmp_path)] == [
            "sound",
            "unfinished",
            "broken",
        ]

    def test_removed_between_others(self, paths: list[Path], tmp_path: Path) -> None:
        paths[1].unlink()
        assert (
            f"continues {paths[1].name}, which is missing" in self.check(tmp_path)[1][1]
        )

    def test_the_oldest_file_may_be_moved(
        self, paths: list[Path], tmp_path: Path
    ) -> None:
        paths[0].unlink()
        assert self.check(tmp_path) == [("sound", "")] * 2

    def test_a_run_that_crashed_is_continued(self, tmp_path: Path) -> None:
        crashed = write_trail(tmp_path, 1, end=False)
        crashed.write_bytes(crashed.read_bytes() + b'{"@timest')
        write_trail(tmp_path, 2)
        assert [each[0] for each in self.check(tmp_path)] == ["unfinished", "sound"]

    def test_a_run_that_went_on_meanwhile(self, tmp_path: Path) -> None:
        first = write_trail(tmp_path, 1)
        whole = first.read_bytes()
        first.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
        write_trail(tmp_path, 2)
        first.write_bytes(whole)
        assert self.check(tmp_path) == [("sound", "")] * 2

    def test_runs_that_overlapped(self, tmp_path: Path) -> None:
        """The first run ends after the second has begun and ended. The third run continues both."""
        first = write_trail(tmp_path, 1)
        whole = first.read_bytes()
        first.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
        write_trail(tmp_path, 2)
        first.write_bytes(whole)
        write_trail(tmp_path, 3)
        assert self.check(tmp_path) == [("sound", "")] * 3
        first.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
        states = self.check(tmp_path)
        assert [state for state, _problem in states] == [
            "unfinished",
            "sound",
            "broken",
        ]
        assert f"{first.name} was cut or rewritten" in states[2][1]
        # If one run vouches for a file, the next run need not do so again.
        first.write_bytes(whole)
        anchors = [
            json.loads(write_trail(tmp_path, number).read_bytes().splitlines()[0])[
                "virtaudit"
            ]["previous"]
            for number in (4, 5)
        ]
        assert ["also" in each for each in anchors] == [False, False]
        first.unlink()
        assert self.check(tmp_path) == [("sound", "")] * 4

    def test_a_clock_that_was_set_back(self, tmp_path: Path) -> None:
        late = write_trail(tmp_path, 3)
        early = write_trail(tmp_path, 2)
        assert early.name > late.name
        assert self.check(tmp_path) == [("sound", "")] * 2
        assert write_trail(tmp_path, 1).name > early.name
        assert self.check(tmp_path) == [("sound", "")] * 3

    def test_a_forged_first_run(self, paths: list[Path], tmp_path: Path) -> None:
        """The forged run continues no other run, although there is a run to continue."""
        (tmp_path / "elsewhere").mkdir()
        forged = write_trail(tmp_path / "elsewhere", 4)
        forged.rename(tmp_path / forged.name)
        assert "continues no run" in self.check(tmp_path)[3][1]


@pytest.mark.parametrize(
    ("end", "tamper", "status", "said"),
    [
        (True, False, 0, "sound"),
        (False, False, 3, "unfinished"),
        (True, True, 1, "BROKEN"),
    ],
)
def test_the_command(
    tmp_path: Path, end: bool, tamper: bool, status: int, said: str
) -> None:
    path = write_trail(tmp_path, end=end)
    if tamper:
        path.write_bytes(path.read_bytes().replace(b"web01", b"web02"))
    done = subprocess.run(
        # -S: it needs nothing but Python.
        [sys.executable, "-S", "-m", "_trail.verify", str(tmp_path)],
        env={"PYTHONPATH": str(Path(str(chain.__file__)).parents[1])},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout.split()[0]) == (status, said)


def test_nothing_to_check_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    assert main([str(tmp_path / "missing")]) == 1
    assert capsys.readouterr().out.count("BROKEN") == 2
