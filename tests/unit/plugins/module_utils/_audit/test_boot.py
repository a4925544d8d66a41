# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A boot that left no record of itself."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.boot import (
    Host,
    boot_mark,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.files import (
    given_logs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.log import Mark
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.recall import (
    Wanted,
    read_all,
    recall,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.trail import Trail
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import noise, write_log
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

NOW = 9_999_999.0
BOOTED = 5000.0
HOST = Host(frozenset((None, "hv1")), BOOTED)
RUN = 4


def started(path: Path, node: str | None = None) -> str:
    """A log with one VM that runs, at 1001 to 1004 seconds, numbers 101 to 104."""
    write_log(path, Story(node=node).machine_id().open().start().booted().items)
    return str(path)


def holders(paths: list[str], wanted: Wanted, host: Host | None) -> list[str]:
    trail = Trail()
    with given_logs(paths) as (logs, unread):
        if wanted.any_vm():
            trail.read(read_all(logs, wanted, False, unread, host), NOW)
        else:
            trail.read(recall(logs, wanted, False, unread, host), NOW)
    return [grant.uuid for grant in trail.grants()]


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(uuid=UUID), Wanted(name="web01")])
@pytest.mark.parametrize("before", [0, 30, 3000])
def test_nothing_outlives_a_boot_without_a_record(
    before: int, wanted: Wanted, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log"))
    with path.open("a") as log:
        log.write(noise(1010, 110, before))
        # It counts on until the last number tells nothing.
        log.write(noise(5001, 2, 5000))
    assert holders([str(path)], wanted, None) == [UUID]
    assert holders([str(path)], wanted, HOST) == []


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(uuid=UUID)])
def test_a_clock_that_was_set_is_no_boot(wanted: Wanted, tmp_path: Path) -> None:
    path = Path(started(tmp_path / "log"))
    with path.open("a") as log:
        log.write(noise(6000, 105, 3000))
    assert holders([str(path)], wanted, HOST) == [UUID]


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(uuid=UUID)])
def test_a_vm_started_since_the_boot(wanted: Wanted, tmp_path: Path) -> None:
    path = Path(started(tmp_path / "log"))
    story = Story("web02", UUID[:-1] + "9")
    story.time, story.serial = 5050, 60
    story.machine_id().open().start().booted()
    with path.open("a") as log:
        log.write(noise(5001, 2, 40))
    lines = path.read_text() + Path(write_log(tmp_path / "x", story.items)).read_text()
    path.write_text(lines)
    assert holders([str(path)], Wanted(), HOST) == [UUID[:-1] + "9"]
    assert holders([str(path)], Wanted(uuid=UUID[:-1] + "9"), HOST) == [UUID[:-1] + "9"]


def test_the_boundary_lies_between_two_files(tmp_path: Path) -> None:
    old = started(tmp_path / "old")
    new = tmp_path / "new"
    new.write_text(noise(5001, 2, 500))
    assert holders([old, str(new)], Wanted(), None) == [UUID]
    assert holders([old, str(new)], Wanted(), HOST) == []
    (tmp_path / "old.gz").write_bytes(gzip.compress(Path(old).read_bytes()))
    assert holders([str(tmp_path / "old.gz"), str(new)], Wanted(), HOST) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", None),
        (noise(5001, 2, 9), None),
        (noise(1000, 2, 9), None),
        (noise(1000, 2, 9) + noise(5001, 7, 2), Mark("5001.000:7", 5001.0)),
        (noise(1000, 2, 2000) + noise(5001, 7, 2000), Mark("5001.000:7", 5001.0)),
        (
            noise(1000, 2, 9) + noise(5001, 1, 3, "node=other ") + noise(5009, 7, 2),
            Mark("5009.000:7", 5009.0),
        ),
        (
            noise(1000, 2, 9, "node=hv1 ") + noise(5001, 7, 2, "node=hv1 "),
            Mark("5001.000:7", 5001.0, "hv1"),
        ),
        (
            noise(1000, 2, 9) + noise(5001, 1, 3, kind="DAEMON_START"),
            None,
        ),
    ],
)
def test_boot_mark(text: str, wanted: Mark | None, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    with given_logs([str(tmp_path / "log")]) as (logs, _unread):
        assert boot_mark(logs, HOST) == wanted


def test_where_records_name_their_node_only_the_current_run_is_read(
    tmp_path: Path,
) -> None:
    story = Story(node="hv1").machine_id().open().start().booted().stop()
    path = write_log(
        tmp_path / "log",
        story.machine_id().open().start().booted().items,
    )
    host = Host(HOST.nodes, 0.0)
    with given_logs([path]) as (logs, unread):
        read = recall(logs, Wanted(uuid=UUID), False, unread, host)
        assert [item.event for item in read[:RUN]] == [
            item.event for item in story.items[-RUN:]
        ]
        assert len(read) == RUN + 1


def test_this_host() -> None:
    host = Host.this()
    assert {None, os.uname().nodename} <= host.nodes
    assert 0 < host.booted <= time.time()
