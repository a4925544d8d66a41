# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.whole import (
    written_whole,
)


def test_the_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("theirs")
    (tmp_path / "it.csv.part").symlink_to(other)
    with written_whole(str(tmp_path / "it.csv"), 0o600) as out:
        out.write("mine")
    assert (tmp_path / "it.csv").read_text() == "mine"
    assert other.read_text() == "theirs"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    path.write_text("old")

    def fail() -> None:
        with written_whole(str(path), 0o600) as out:
            out.write("new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
