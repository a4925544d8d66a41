# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to tamper with a directory of five runs, and the check that finds each. ``file``: the files alone show it.

``heads``: the heads on another machine show it. ``host``: only trail_reconcile finds it in the hosts' logs. The
threat model has the same list.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail import (
    heads as heads_module,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    check_file,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.heads import Head
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.line import (
    seal,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.signature import (
    write_signature,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.verify import (
    Verdict,
    main,
    verify,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import write_trail

Found = t.Literal["file", "heads", "host"]


class Runs:
    """Five runs in a directory, and the heads that they sent at their ends."""

    def __init__(self, path: Path) -> None:
        self.directory = path / "trail"
        self.paths = [write_trail(self.directory, number) for number in range(1, 6)]
        self.heads = [head_of(path) for path in self.paths]

    def check(self, **known: t.Any) -> list[Verdict]:
        return verify(str(self.directory), **known)


def head_of(path: Path) -> Head:
    found = check_file(str(path))
    return Head(found.lines, found.head, str(found.run), str(path.resolve()))


def reseal(path: Path, change: t.Callable[[list[t.Any]], object]) -> None:
    """Change a file, and compute all hashes again. A person who may write the file can do that."""
    documents = [json.loads(line) for line in path.read_bytes().splitlines()]
    change(documents)
    lines, head = [], documents[0]["virtaudit"]["previous"]["hash"]
    for number, document in enumerate(documents, 1):
        del document["event"]["hash"]
        document["event"]["sequence"] = number
        if number > 1:
            document["virtaudit"]["previous"] = {"hash": head}
        line, head = seal(document)
        lines.append(line)
    path.write_bytes(b"".join(lines))


def change_a_vm(documents: list[t.Any]) -> None:
    documents[1]["virtaudit"]["vm"]["name"] = "other"


def drop_a_record(documents: list[t.Any]) -> None:
    del documents[1]
    documents[-1]["virtaudit"]["summary"]["records"] -= 1


def close_anew(documents: list[t.Any]) -> None:
    documents[-1]["event"].update(kind="state", action="run_end")
    records = [each for each in documents if each["event"]["kind"] == "event"]
    documents[-1]["virtaudit"]["summary"] = {"records": len(records)}


def cut_lines(path: Path, count: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-count]))


def edit(runs: Runs) -> None:
    path = runs.paths[2]
    path.write_bytes(path.read_bytes().replace(b"web01", b"web02", 1))


def remove_a_line(runs: Runs) -> None:
    lines = runs.paths[2].read_bytes().splitlines(keepends=True)
    runs.paths[2].write_bytes(b"".join([*lines[:2], *lines[3:]]))


def swap_lines(runs: Runs) -> None:
    lines = runs.paths[2].read_bytes().splitlines(keepends=True)
    lines[1], lines[2] = lines[2], lines[1]
    runs.paths[2].write_bytes(b"".join(lines))


def forge_a_run(runs: Runs) -> None:
    """Put a run of another directory among these."""
    other = write_trail(runs.directory.parent / "other", 6)
    shutil.move(other, runs.directory / other.name)


def drop_the_old(runs: Runs) -> None:
    for path in runs.paths:
        path.unlink()
    runs.paths = [write_trail(runs.directory, 9)]


def hide_the_cut(runs: Runs) -> None:
    """Remove the two oldest files, and put a forged first run in the place of the second."""
    for path in runs.paths[:2]:
        path.unlink()
    other = write_trail(runs.directory.parent / "other", 2)
    forged = runs.directory / other.name.replace("000000Z-", "000001Z-", 1)
    shutil.move(other, forged)


def leave_out_a_record(runs: Runs) -> None:
    """The controller's own user makes the callback write less than it got."""
    reseal(runs.paths[4], drop_a_record)
    runs.heads[4] = head_of(runs.paths[4])


def remove_the_newest(runs: Runs) -> None:
    runs.paths[4].unlink()


def write_the_newest_anew(runs: Runs) -> None:
    reseal(runs.paths[4], change_a_vm)


# The way, the function that does it, and the check that finds it.
WAYS: list[tuple[str, t.Callable[[Runs], object], Found]] = [
    ("a line of a file is changed", edit, "file"),
    ("a line is removed from the middle", remove_a_line, "file"),
    ("two lines change places", swap_lines, "file"),
    (
        "an old file is written anew",
        lambda runs: reseal(runs.paths[2], change_a_vm),
        "file",
    ),
    ("a file between others is removed", lambda runs: runs.paths[2].unlink(), "file"),
    (
        "the end of an old file is cut off",
        lambda runs: cut_lines(runs.paths[2], 2),
        "file",
    ),
    ("the oldest file is removed", lambda runs: runs.paths[0].unlink(), "file"),
    ("a run of elsewhere is put among them", forge_a_run, "file"),
    ("a forged first run hides that the oldest are removed", hide_the_cut, "file"),
    (
        "the end of the newest file is cut off",
        lambda runs: cut_lines(runs.paths[4], 1),
        "file",
    ),
    (
        "the newest file is written anew",
        write_the_newest_anew,
        "heads",
    ),
    ("the newest file is removed", remove_the_newest, "heads"),
    ("all files are removed, and another run is made", drop_the_old, "heads"),
    ("a record is left out before its head is told", leave_out_a_record, "host"),
]


@pytest.mark.parametrize(
    ("done", "found"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS]
)
def test_tampering(
    tmp_path: Path, done: t.Callable[[Runs], object], found: Found
) -> None:
    runs = Runs(tmp_path)
    assert {verdict.status for verdict in runs.check(heads=runs.heads)} == {0}
    done(runs)
    alone = {verdict.status for verdict in runs.check()} != {0}
    known = {verdict.status for verdict in runs.check(heads=runs.heads)} != {0}
    assert alone is (found == "file")
    assert known is (found in ("file", "heads"))


def test_there_are_fourteen_ways() -> None:
    assert len({name for name, _done, _found in WAYS}) == 14


def cut_the_newest(runs: Runs) -> None:
    cut_lines(runs.paths[4], 1)


@pytest.mark.parametrize(
    "harm", [remove_the_newest, write_the_newest_anew, cut_the_newest]
)
def test_the_newest_file_is_changed_before_another_run(
    tmp_path: Path, harm: t.Callable[[Runs], None]
) -> None:
    """The next run continues the files that it finds, so only another machine still has the head."""
    runs = Runs(tmp_path)
    harm(runs)
    write_trail(runs.directory, 6)
    assert {verdict.status for verdict in runs.check()} == {0}
    wrong = [each.text for each in runs.check(heads=runs.heads) if each.status]
    assert len(wrong) == 1
    assert runs.paths[4].name in wrong[0]
    assert {each.status for each in runs.check(head=runs.heads[4].head)} == {0, 1}


def test_the_head_of_a_rewritten_file_is_sent_too(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    write_the_newest_anew(runs)
    for heads in (
        [*runs.heads, head_of(runs.paths[4])],
        [head_of(runs.paths[4]), *runs.heads],
    ):
        assert [each.status for each in runs.check(heads=heads)] == [0, 0, 0, 0, 1]


def test_older_files_may_be_moved_if_the_check_is_told(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.paths[0].unlink()
    assert "cut at its start" in runs.check()[0].text
    begin = runs.paths[1].name
    assert {each.status for each in runs.check(begin=begin, heads=runs.heads)} == {0}
    runs.paths[1].unlink()
    assert "cut at its start" in " ".join(each.text for each in runs.check(begin=begin))


def test_a_wrong_name_of_the_oldest_file_leaves_nothing_out(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.paths[0].unlink()
    for begin in ("", f"trail/{runs.paths[1].name}", "2027"):
        assert "cut at its start" in runs.check(begin=begin)[0].text
    hide_the_cut(Runs(tmp_path / "other"))
    begin = runs.paths[0].name.partition("T")[0]
    texts = [each.text for each in verify(str(tmp_path / "other/trail"), begin)]
    assert "cut at its start" in " ".join(texts)


def test_a_run_that_was_killed_is_no_failure_for_ever(tmp_path: Path) -> None:
    killed = write_trail(tmp_path, 1, end=False)
    assert [each.status for each in verify(str(tmp_path))] == [3]
    write_trail(tmp_path, 2)
    verdicts = verify(str(tmp_path))
    assert [each.status for each in verdicts] == [0, 0]
    assert verdicts[0].text.startswith("anchored")
    cut_lines(killed, 1)
    assert 1 in [each.status for each in verify(str(tmp_path))]


def test_a_copy_is_checked_against_all_heads(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(runs.directory, copy)
    assert {each.status for each in verify(str(copy), heads=runs.heads)} == {0}
    (copy / runs.paths[4].name).unlink()
    assert 1 in {each.status for each in verify(str(copy), heads=runs.heads)}


def test_a_head_of_the_copy_hides_no_head_of_the_trail(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(runs.directory, copy)
    (copy / runs.paths[4].name).unlink()
    moved = head_of(write_trail(copy, 6))
    wrong = [each.text for each in verify(str(copy), heads=[*runs.heads, moved])]
    assert "it is missing" in wrong[0]
    assert runs.paths[4].name in wrong[0]
    # Another trail of the same controller has nothing to do with it.
    other = write_trail(tmp_path / "other", 7)
    heads = [*runs.heads, head_of(other)]
    assert [each.status for each in verify(str(other.parent), heads=heads)] == [0]


@pytest.fixture(name="key")
def fixture_key(tmp_path: Path) -> Path:
    key = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(command, check=True)
    return key


def test_a_rewritten_file_has_no_signature_of_ours(tmp_path: Path, key: Path) -> None:
    signers = tmp_path / "signers"
    signers.write_text(f"auditor {key.with_suffix('.pub').read_text('ascii')}")
    runs = Runs(tmp_path)
    for head in runs.heads:
        write_signature(head, str(key), None)
    verdicts = runs.check(signers=str(signers))
    assert [each.text.endswith("signed by auditor") for each in verdicts] == [True] * 5
    reseal(runs.paths[4], change_a_vm)
    assert "is of another head" in runs.check(signers=str(signers))[4].text
    cut_the_newest(runs)
    later = write_trail(runs.directory, 6)
    assert "it has a signature" in runs.check()[4].text
    later.unlink()
    Path(f"{runs.paths[4]}.sig").unlink()
    reseal(runs.paths[4], close_anew)
    assert "has no signature" in runs.check(signers=str(signers))[4].text
    signers.write_text("")
    assert "of nobody" in runs.check(signers=str(signers))[0].text


def test_the_command(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    log = tmp_path / "syslog"
    entries = [f"Nov 28 ctl virtaudit-trail[7]: {head.text()}" for head in runs.heads]
    log.write_text("\n".join(["Nov 28 ctl other: hello", *entries, ""]))
    command = [sys.executable, "-m", "_trail.verify", str(runs.directory)]
    utils = str(Path(heads_module.__file__).parents[1])

    def status(*options: str) -> int:
        return subprocess.run(
            [*command, *options],
            env={"PYTHONPATH": utils},
            stdout=subprocess.DEVNULL,
            check=False,
        ).returncode

    assert status("--heads-from", str(log), "--head", runs.heads[4].head) == 0
    runs.paths[4].unlink()
    assert status() == 0
    assert status("--heads-from", str(log)) == 1
    assert status("--head", runs.heads[4].head) == 1
    log.write_text("nothing")
    assert status("--heads-from", str(log)) == 1
    assert main([str(tmp_path / "missing")]) == 1
