# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the files of all runs with the hosts' logs."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    trail_files,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.file import (
    TrailFile,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.lines import Lines
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.reconciliation import (
    reconcile,
    shortened,
    table,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import (
    a_log,
    a_record,
    a_run,
    a_task,
    an_item,
)

Data = dict[str, t.Any]


def write_run(
    directory: Path, number: int, *serials: int, host: str = "hv1", year: int = 2026
) -> Path:
    run = a_run(number)
    run = a_run(number, began=run.began.replace(hour=7, minute=0, year=year))
    lines = Lines(run)
    file = TrailFile(str(directory), run.id, run.began)
    file.append([lines.opening()])
    task = a_task(machine=host)
    file.append([lines.record(task, "Play", a_record(each)) for each in serials])
    counted = {"records": len(serials), "unwritten": 0, "head": file.head}
    counted["previous_run"] = file.previous
    file.close(lines.closing({**counted, "hosts": []}, None))
    return Path(file.path)


def an_answer(*items: Data, **changes: t.Any) -> Data:
    """Return a host's answer from logs that reach from 7 to 8 o'clock."""
    log = a_log(*items)
    log["stats"]["first"] = "2026-11-23T07:00:00.000Z"
    return {**log, **changes}


def compare(
    directory: Path, begin: str | None = None, /, **answers: Data | None
) -> Data:
    def answer_of(host: str) -> str | None:
        answer = answers[host]
        return None if answer is None else json.dumps(answer)

    return reconcile(str(directory), list(answers), answer_of, begin)


def test_all_agrees(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 1, 2)
    write_run(tmp_path, 2, 3)
    result = compare(tmp_path, hv1=an_answer(an_item(1), an_item(2), an_item(3)))
    assert result["sound"], table(result)
    assert result["hosts"][0]["matched"] == 3


def test_the_file_of_a_run_is_removed(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 1)
    removed = write_run(tmp_path, 2, 2)
    write_run(tmp_path, 3, 3)
    removed.unlink()
    run = a_run(2).id
    log = an_answer(an_item(1), an_item(2, run=run), an_item(3))
    result = compare(tmp_path, hv1=log)
    assert not result["sound"]
    assert result["missing_files"] == [removed.name]
    (group,) = result["not_in_files"]
    assert (group["host"], group["run"], group["count"]) == ("hv1", run, 1)
    assert group["why"] == f"the file of run {run} is not there"
    assert (group["auid"], group["vms"], group["addr"]) == (1000, ["web01"], "10.0.2.2")
    assert any(removed.name in line for line in table(result))


def test_older_files_may_be_moved_if_the_comparison_is_told(tmp_path: Path) -> None:
    moved = write_run(tmp_path, 1, 1)
    oldest = write_run(tmp_path, 2, 2)
    write_run(tmp_path, 3, 3)
    moved.unlink()
    log = {"hv1": an_answer(an_item(2), an_item(3))}
    assert compare(tmp_path, **log)["missing_files"] == [moved.name]
    result = compare(tmp_path, oldest.name, **log)
    assert result["sound"], table(result)
    removed = write_run(tmp_path, 4, 4)
    write_run(tmp_path, 5, 5)
    removed.unlink()
    result = compare(tmp_path, oldest.name, **log)
    assert result["missing_files"] == [removed.name]


def test_a_run_without_the_callback(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 1)
    log = an_answer(an_item(1), an_item(5), an_item(6, reason="attach"))
    log["events"][2].update(auid=1001, ses=9)
    result = compare(tmp_path, hv1=log)
    assert [group["auid"] for group in result["not_in_files"]] == [1000, 1001]
    assert all("ad-hoc" in group["why"] for group in result["not_in_files"])
    lines = table(result)
    assert lines[0].split()[:4] == ["HOST", "WHAT", "COUNT", "SINCE"]
    assert "auid 1001 from 10.0.2.2" in lines[2]


@pytest.mark.parametrize("years", [(2026, 2026), (2027, 2026), (2026, 2027)])
def test_a_clock_that_went_back_hides_no_record(
    tmp_path: Path, years: tuple[int, int]
) -> None:
    for number, year in enumerate(years, 1):
        write_run(tmp_path, number, number, year=year)
    result = compare(tmp_path, hv1=an_answer(an_item(1), an_item(2), an_item(5)))
    assert result["hosts"][0]["not_in_files"] == 1
    assert not result["sound"]


def test_a_record_from_before_the_oldest_file_is_only_counted(tmp_path: Path) -> None:
    write_run(tmp_path, 1, year=2027)
    result = compare(tmp_path, hv1=an_answer(an_item(5)))
    assert result["hosts"][0]["before"] == 1
    assert result["sound"]


def test_a_record_that_no_host_has(tmp_path: Path) -> None:
    path = write_run(tmp_path, 1, 1, 2)
    result = compare(tmp_path, hv1=an_answer(an_item(1)))
    (group,) = result["not_on_host"]
    assert (group["file"], group["run"], group["count"]) == (path.name, a_run().id, 1)
    assert group["user"]
    assert not result["sound"]


def test_lines_from_before_the_logs_are_only_counted(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 1, 2)
    log = an_answer(an_item(2))
    log["stats"]["first"] = "2026-11-23T07:55:05.001Z"
    result = compare(tmp_path, hv1=log)
    assert result["sound"]
    assert result["hosts"][0]["unchecked"] == 1


@pytest.mark.parametrize(
    ("change", "auid", "kind"),
    [
        ({"exe": "/usr/sbin/libvirtd"}, None, "others"),
        # A revocation without a login, for example by a cron job.
        ({"reason": "detach"}, None, "not_in_files"),
        ({"reason": "detach"}, 1000, "not_in_files"),
        ({"reason": "detach", "run": "x"}, None, "not_in_files"),
        ({"reason": "attach"}, None, "not_in_files"),
    ],
)
def test_a_record_that_no_task_wrote_is_no_discrepancy(
    tmp_path: Path, change: dict[str, str], auid: int | None, kind: str
) -> None:
    write_run(tmp_path, 1, 1)
    log = an_answer(an_item(1), an_item(2, **change))
    log["events"][1]["auid"] = auid
    result = compare(tmp_path, hv1=log)
    assert result["hosts"][0][kind] == 1
    assert result["sound"] is (kind != "not_in_files")


@pytest.mark.parametrize(
    ("stop", "auid", "ends"),
    [
        ({"reason": "crashed"}, None, 2),
        ({"reason": "shutdown"}, None, 2),
        # Only a task destroys a VM.
        ({"reason": "destroyed"}, None, 0),
        ({"reason": "shutdown", "run": "x"}, None, 0),
        ({"reason": "shutdown"}, 1000, 0),
    ],
)
def test_a_record_of_a_companion_is_no_discrepancy(
    tmp_path: Path, stop: dict[str, str], auid: int | None, ends: int
) -> None:
    write_run(tmp_path, 1, 1)
    log = an_answer(
        an_item(1),
        an_item(2, op="stop", **stop),
        an_item(3, reason="detach", **{k: v for k, v in stop.items() if k == "run"}),
        an_item(4, reason="attach"),
    )
    log["events"][1]["type"] = "VIRT_CONTROL"
    for number in (1, 2, 3):
        log["events"][number]["auid"] = auid
    (host,) = compare(tmp_path, hv1=log)["hosts"]
    assert (host["ends"], host["not_in_files"]) == (ends, 3 - ends)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "no answer came back"),
        ({"failed": True, "msg": "on fire"}, "on fire"),
        ({}, "not what vm_net_audit_info returns"),
        (an_answer({"type": 5}), "have not the shape"),
        (an_answer(stats={"unread": [{"path": "/a"}]}), "not all of its logs"),
        (an_answer(stats={"unread": {"path": "/a"}}), "not all of its logs"),
        (an_answer(stats={"unread": 7}), "not all of its logs"),
    ],
)
def test_a_host_without_an_answer_is_no_proof(
    tmp_path: Path, answer: Data | None, problem: str
) -> None:
    write_run(tmp_path, 1, 1)
    result = compare(tmp_path, hv1=answer, hv2=an_answer())
    assert problem in result["silent"][0]["problem"]
    assert [host["host"] for host in result["hosts"]] == ["hv2"]
    assert not result["sound"]


def test_a_host_that_was_not_asked_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, 1, 1, host="hv9")
    result = compare(tmp_path, hv1=an_answer())
    assert result["unasked"] == ["hv9"]
    assert "not asked, and in the files: hv9" in table(result)


def test_a_changed_file_is_no_proof(tmp_path: Path) -> None:
    path = write_run(tmp_path, 1, 1, 2)
    path.write_bytes(path.read_bytes().replace(b"web01", b"web02", 1))
    assert len(trail_files(str(tmp_path))) == 1
    assert not compare(tmp_path, hv1=an_answer(an_item(1), an_item(2)))["sound"]


def test_lines_that_are_left_out_are_counted(tmp_path: Path) -> None:
    lines = [f"hv{number}" for number in range(5)]
    assert shortened(lines, 5, None) == lines
    assert shortened(lines, 4, None) == [*lines[:3], "... and 2 more lines"]
    assert shortened(lines, 2, "/a.json")[1].endswith("; /a.json has the whole answer")
