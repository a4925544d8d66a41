# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import files
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.known import (
    Known,
    look_up,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import write_log
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

OTHER = "52:54:00:00:00:02"
COPY = "c1e2f3a4-0001-4000-8000-000000000099"
NAME = "my web 01"


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "audit.log"
    monkeypatch.setattr(files, "log_path", lambda: str(path))
    return path


@pytest.mark.usefixtures("path")
def test_no_log() -> None:
    assert look_up(UUID, NAME, {MAC}) == Known()


@pytest.mark.parametrize("packed", [False, True])
def test_a_vm_and_its_nics_in_rotated_logs_too(path: Path, packed: bool) -> None:
    story = Story(NAME).machine_id().open().attach().detach().later(100)
    old = write_log(path.with_suffix(".log.1"), story.items)
    if packed:
        Path(f"{old}.gz").write_bytes(gzip.compress(Path(old).read_bytes()))
        Path(old).unlink()
    newer = Story("else", COPY)
    newer.time, newer.serial = story.time, story.serial
    write_log(path, newer.open(OTHER).attach(OTHER).items)
    assert look_up(UUID, NAME, {MAC}) == Known(True, {MAC}, set(), 1000.0)
    # Another VM had the other MAC.
    assert look_up(UUID, NAME, {MAC, OTHER}) == Known(True, {MAC}, set(), 1000.0)
    assert look_up(COPY, "else", {OTHER}) == Known(True, {OTHER}, set(), 1100.0)


def test_a_vm_of_that_name(path: Path) -> None:
    write_log(
        path, Story(NAME, COPY).open().attach().vm("web", UUID[:-1] + "2").open().items
    )
    assert look_up(UUID, NAME, {MAC}) == Known(False, set(), {COPY}, 1000.0)


def test_a_record_that_root_did_not_send_does_not_count(path: Path) -> None:
    story = Story(NAME).open()
    story.items[0].uid = 1000  # type: ignore[union-attr]
    write_log(path, story.items)
    assert look_up(UUID, NAME, {MAC}) == Known(False, set(), set(), 1000.0)
