# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The index of a log gives the same answers as the log, or none."""

from __future__ import annotations

import functools
import os
import random
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import index, lookup
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.given import (
    given_logs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.recall import recall
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.wanted import Wanted
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import noise, write_log
from ansible_collections.virtaudit.qemu.tests.unit.support.logs import logs_of
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

NOW = 9_999_999.0
WAYS = [
    Wanted(uuid=UUID),
    Wanted(name="web01"),
    Wanted(mac=MAC),
    Wanted(uuid=UUID, since=0.0),
]


@pytest.fixture(name="places", autouse=True)
def fixture_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let root keep indexes of small logs."""
    if os.geteuid() != 0:
        pytest.skip("only root keeps an index")
    monkeypatch.setattr(index, "DIRECTORY", str(tmp_path / "cache"))
    monkeypatch.setattr(lookup, "SMALLEST_BYTES", 1)
    monkeypatch.setattr(lookup, "NEAR_BYTES", 0)
    return tmp_path / "cache"


def a_log(path: Path) -> str:
    story = Story().machine_id().open().start().booted()
    write_log(path, story.items)
    with path.open("a") as log:
        log.write(noise(1010, 200, 2000))
    return str(path)


def ask(path: str, wanted: Wanted, keep: bool) -> tuple[object, ...]:
    trail = Trail()
    with given_logs([path]) as (files, unread):
        logs = logs_of(files, unread)._replace(keep_index=keep)
        trail.read(recall(logs, wanted, False).items, NOW)
        broken = [(each.problem, each.lines) for each in unread]
    grants = [(grant.uuid, grant.mac, grant.event) for grant in trail.grants()]
    ends = sorted((each.event, each.end) for each in trail.sessions.values())
    findings = [(each.code, each.events) for each in trail.findings.all()]
    return grants, ends, broken, findings


@pytest.mark.parametrize("wanted", WAYS)
def test_the_index_gives_the_answer_of_the_log(
    wanted: Wanted, tmp_path: Path, places: Path
) -> None:
    path = a_log(tmp_path / "log")
    plain = ask(path, wanted, keep=False)
    assert not places.exists()
    assert ask(path, wanted, keep=True) == plain
    assert [each.stat().st_mode & 0o777 for each in places.iterdir()] == [0o600]
    assert places.stat().st_mode & 0o777 == 0o700
    assert ask(path, wanted, keep=True) == plain
    # A log grows.
    story = Story()
    story.serial, story.time = 5000, 9000
    with open(path, "a") as log:
        log.write(
            Path(write_log(tmp_path / "more", story.detach().stop().items)).read_text()
        )
        log.write(noise(9500, 5500, 1000))
    assert ask(path, wanted, keep=True) == ask(path, wanted, keep=False) != plain


@pytest.mark.parametrize("node", [None, "hv1"])
@pytest.mark.parametrize("grows", [False, True])
def test_a_boot_that_only_the_numbers_of_another_vm_show(
    grows: bool, node: str | None, tmp_path: Path
) -> None:
    story = Story(node=node)
    story.serial = 5000
    held = len(story.machine_id().open().start().booted().items)
    story.reboot_unseen().vm("db01", "c1e2f3a4-0001-4000-8000-000000000022")
    story.machine_id().booted()
    path = tmp_path / "log"
    place = f"node={node} " if node else ""
    if grows:
        write_log(path, story.items[:held])
        with path.open("a") as log:
            log.write(noise(1010, 5100, 2000, place))
        assert ask(str(path), Wanted(name="web01"), keep=True)[0]
        more = write_log(tmp_path / "more", story.items[held:])
        with path.open("a") as log:
            log.write(Path(more).read_text())
    else:
        write_log(path, story.items)
    with path.open("a") as log:
        # The numbers at the end are higher than those before the boot.
        log.write(noise(2000, story.serial + 1, 8000, place))
    for wanted in WAYS:
        plain = ask(str(path), wanted, keep=False)
        assert plain[0] == []
        assert ask(str(path), wanted, keep=True) == plain
        assert ask(str(path), wanted, keep=True) == plain


@pytest.mark.parametrize("seed", range(40))
def test_random_logs(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)  # noqa: S311
    story = Story().machine_id().open().start().booted()
    for _step in range(rng.randrange(20)):
        uuid = f"c1e2f3a4-0001-4000-8000-00000000000{rng.randrange(3)}"
        steps: list[t.Callable[[], object]] = [
            story.open,
            story.attach,
            story.detach,
            story.stop,
            story.machine_id,
            story.start,
            story.booted,
            story.host_boots,
            story.reboot_unseen,
            story.container_boots,
            story.forged,
            functools.partial(story.vm, "other", uuid),
            functools.partial(story.vm, "web01", UUID),
        ]
        rng.choice(steps)()
    path = tmp_path / "log"
    write_log(path, story.items)
    lines = path.read_text().splitlines(keepends=True)
    for _damage in range(rng.randrange(3)):
        at = rng.randrange(len(lines))
        lines[at] = lines[at][: len(lines[at]) // 2] + "\n"
    path.write_text("".join(lines) + noise(story.time + 1, story.serial + 1, 1500))
    for wanted in WAYS:
        plain = ask(str(path), wanted, keep=False)
        assert ask(str(path), wanted, keep=True) == plain
        assert ask(str(path), wanted, keep=True) == plain


@pytest.mark.parametrize(
    "damage", ["index", "log", "shorter", "places", "owner", "other"]
)
def test_an_index_that_does_not_fit_is_not_used(
    damage: str, tmp_path: Path, places: Path
) -> None:
    path = a_log(tmp_path / "log")
    assert ask(path, WAYS[0], keep=True)[0]
    (kept,) = places.iterdir()
    content = bytearray(kept.read_bytes())
    if damage == "index":
        content[-3] ^= 1
        kept.write_bytes(content)
    elif damage == "log":
        text = Path(path).read_text().replace("reason=start", "reason=stert")
        Path(path).write_text(text)
    elif damage == "shorter":
        lines = Path(path).read_text().splitlines(keepends=True)
        Path(path).write_text("".join(lines[9:]))
    elif damage == "places":
        kept.write_bytes(b"{}")
    elif damage == "owner":
        places.chmod(0o777)
    else:
        os.replace(write_log(tmp_path / "new", Story().open().items), path)
    assert ask(path, WAYS[0], keep=False) == ask(path, WAYS[0], keep=True)
    with given_logs([path]) as (files, _unread):
        if damage in ("index", "places", "owner"):
            kept.write_bytes(content)
            assert damage != "owner" or index.load(files[0]) is None


def test_an_index_of_a_log_that_was_rewritten_is_not_used(
    tmp_path: Path, places: Path
) -> None:
    # The file, its size and the places at which an index looks are the same.
    much, path = noise(1, 1, 3000), tmp_path / "log"
    story = Story().machine_id().open().start().booted()
    write_log(tmp_path / "story", story.items)
    text = (tmp_path / "story").read_text()
    path.write_text(f"{much}{text}{much}")
    assert ask(str(path), Wanted(name="web01"), keep=True)[0]
    assert len(list(places.iterdir())) == 1
    path.write_text(f"{much}{text.replace('web01', 'web02')}{much}")
    assert ask(str(path), Wanted(name="web01"), keep=True)[0] == []
    assert ask(str(path), Wanted(name="web02"), keep=True)[0]
