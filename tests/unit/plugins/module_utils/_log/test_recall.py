# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.files import LogFile
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.given import (
    given_logs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.items import Item
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import Logged
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.recall import (
    Logs,
    read_all,
    recall,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.wanted import Wanted
from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_cases import (
    ask,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import noise, write_log
from ansible_collections.virtaudit.qemu.tests.unit.support.logs import logs_of
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

UUID2 = "c1e2f3a4-0001-4000-8000-000000000022"
OTHER = "52:54:00:00:00:02"
NOW = 9_999_999.0
Held = list[tuple[str, str, str]]


def held(trail: Trail) -> Held:
    return [(grant.uuid, grant.mac, grant.event) for grant in trail.grants()]


def by_all(paths: list[str], wanted: Wanted) -> Held:
    trail = Trail()
    with given_logs(paths) as (logs, unread):
        trail.read(read_all(logs_of(logs, unread), wanted, False), NOW)
    return held(trail)


def by_recall(paths: list[str], wanted: Wanted) -> tuple[Held, list[int]]:
    """Return what VMs hold, and the serial numbers of the records that were read for that."""
    trail = Trail()
    with given_logs(paths) as (logs, unread):
        items = recall(logs_of(logs, unread), wanted, False).items
        trail.read(items, NOW)
    return held(trail), [
        int(item.event.rpartition(":")[2]) for item in items if isinstance(item, Logged)
    ]


def two_runs() -> Story:
    story = Story().machine_id().open().start().booted().stop()
    story.machine_id().open().start().booted()
    return story.vm("other", UUID2).machine_id().open(OTHER).start(OTHER).booted()


@pytest.mark.parametrize(
    ("wanted", "uuids", "serials"),
    [
        (Wanted(uuid=UUID), [UUID], [106, 107, 108, 109]),
        (Wanted(name="web01"), [UUID], [106, 107, 108, 109]),
        (Wanted(mac=MAC), [UUID], [106, 107, 108, 109]),
        (Wanted(uuid=UUID2), [UUID2], [110, 111, 112, 113]),
        (Wanted(name="web"), [], []),
        (Wanted(mac="52:54:00:00:00:99"), [], []),
        (Wanted(uuid=UUID, since=0.0), [UUID], list(range(101, 110))),
        (Wanted(mac=MAC, since=0.0), [UUID], list(range(101, 110))),
        (Wanted(uuid=UUID, until=900.0), [], []),
    ],
)
def test_reads_the_current_run(
    wanted: Wanted, uuids: list[str], serials: list[int], tmp_path: Path
) -> None:
    path = write_log(tmp_path / "log", two_runs().items)
    found, read = by_recall([path], wanted)
    assert [uuid for uuid, _mac, _event in found] == uuids
    assert read == serials


@pytest.mark.parametrize("wanted", [Wanted(uuid=UUID), Wanted(name="web01")])
@pytest.mark.parametrize("stops", [False, True])
def test_reads_no_further_than_needed(
    stops: bool, wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story().machine_id().open().start().booted()
    path = Path(write_log(tmp_path / "log", (story.stop() if stops else story).items))
    path.write_text(noise(0, 0, 30_000) + path.read_text())
    read: list[int] = []
    real = LogFile.read_at

    def noting(log: LogFile, position: int, size: int) -> bytes:
        read.append(size)
        return real(log, position, size)

    monkeypatch.setattr(LogFile, "read_at", noting)
    assert len(by_recall([str(path)], wanted)[1]) == 4 + stops
    assert path.stat().st_size > 3_000_000
    assert sum(read) < 500_000


def test_names_that_are_quoted_or_hex(tmp_path: Path) -> None:
    for number, name in enumerate(("a b", "\u00e9", 'q"q', "plain", "x=y")):
        path = write_log(tmp_path / str(number), Story(name).open().attach().items)
        assert len(by_recall([path], Wanted(name=name))[0]) == 1
        assert by_recall([path], Wanted(name=name[:-1]))[0] == []


def test_libvirt_quotes_names_that_we_write_in_hex(tmp_path: Path) -> None:
    log = Path(write_log(tmp_path / "log", Story("x=y").open().attach().items))
    log.write_text(log.read_text().replace("vm=783D79", 'vm="x=y"'))
    assert len(by_recall([str(log)], Wanted(name="x=y"))[0]) == 1


def test_a_mac_that_another_vm_failed_to_get(tmp_path: Path) -> None:
    story = Story().open().attach().vm("x", UUID2).open().attach(ok=False).close()
    path = write_log(tmp_path / "log", story.items)
    assert by_recall([path], Wanted(mac=MAC))[0] == by_all([path], Wanted())


def test_a_mac_that_two_vms_hold(tmp_path: Path) -> None:
    story = Story().machine_id().open().start().booted()
    story.vm("db", UUID2).machine_id().open().start().booted()
    path = write_log(tmp_path / "log", story.items)
    assert [uuid for uuid, *_rest in by_recall([path], Wanted(mac=MAC))[0]] == [
        UUID,
        UUID2,
    ]
    path = write_log(tmp_path / "log", story.detach().items)
    assert by_recall([path], Wanted(mac=MAC))[0] == by_all([path], Wanted())


def test_a_mac_that_many_vms_had(tmp_path: Path) -> None:
    story = Story().machine_id().open().start().booted()
    for number in range(100, 150):
        story.vm(f"vm{number}", f"c1e2f3a4-0001-4000-8000-{number:012}")
        story.machine_id().open().start().booted().stop()
    path = write_log(tmp_path / "log", story.items)
    assert [uuid for uuid, *_rest in by_recall([path], Wanted(mac=MAC))[0]] == [UUID]


def test_vms_of_one_name_on_two_nodes(tmp_path: Path) -> None:
    one, two = Story(node="hv1"), Story(node="hv2", uuid=UUID2)
    for story in (one, two):
        story.machine_id().open().start().booted()
    path = write_log(tmp_path / "log", [*one.items, *two.items])
    assert by_recall([path], Wanted(name="web01"))[0] == by_all([path], Wanted())


@pytest.mark.parametrize(
    "wanted", [Wanted(uuid=UUID), Wanted(name="web01"), Wanted(mac=MAC)]
)
def test_the_last_run_of_a_vm_that_has_stopped(wanted: Wanted, tmp_path: Path) -> None:
    items = two_runs().stop().vm("web01", UUID).stop().detach().close(fd=7).items
    path = write_log(tmp_path / "log", items)
    held, read = by_recall([path], wanted)
    assert held == []
    assert read == [106, 107, 108, 109, 115, 116, 117]


def test_upper_case(tmp_path: Path) -> None:
    mac = "52:54:00:AB:00:01"
    story = Story(uuid=UUID.upper()).machine_id().open(mac).start(mac).booted()
    path = write_log(tmp_path / "log", story.items)
    wanted = by_all([path], Wanted())
    assert len(wanted) == 1
    for way in (Wanted(uuid=UUID), Wanted(mac="52:54:00:ab:00:01")):
        assert by_recall([path], way)[0] == wanted


def test_over_rotated_files(tmp_path: Path) -> None:
    items = two_runs().items
    paths = [
        write_log(tmp_path / "new", items[7:]),
        write_log(tmp_path / "old", items[:7]),
    ]
    assert by_recall(paths, Wanted(uuid=UUID))[1] == [106, 107, 108, 109]


def test_a_boot_ends_the_search(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log", two_runs().later(9).host_boots().items)
    assert by_recall([path], Wanted(uuid=UUID)) == ([], [])


def test_a_vm_that_moved_between_nodes(tmp_path: Path) -> None:
    items = [
        *Story(node="hv1").machine_id().open().start().booted().items,
        *Story(node="hv2").machine_id().open().start().booted().items,
        *Story(node="hv1").later(9).stop().items,
    ]
    path = write_log(tmp_path / "log", items)
    assert len(by_recall([path], Wanted(uuid=UUID))[0]) == 1
    assert by_recall([path], Wanted(uuid=UUID))[0] == by_all([path], Wanted())


def container_boots(path: Path, time: int, number: int, node: str = "") -> None:
    with path.open("a") as log:
        log.write(
            f"{node}type=SYSTEM_BOOT msg=audit({time}.000:{number}): pid=9 uid=0 msg='x'\n"
            f"{node}type=USER msg=audit({time + 900}.000:{number + 1}): pid=1 uid=0 msg='x'\n"
        )


@pytest.mark.parametrize(
    "wanted", [Wanted(uuid=UUID), Wanted(name="web01"), Wanted(mac=MAC)]
)
@pytest.mark.parametrize("node", [None, "hv1"])
def test_a_container_that_boots_after_a_record_of_another_vm(
    node: str | None, wanted: Wanted, tmp_path: Path
) -> None:
    story = Story(node=node).machine_id().open().start().booted().later(3600)
    story.vm("ct01", UUID2).machine_id().booted()
    path = tmp_path / "log"
    path.write_text(Path(write_log(tmp_path / "story", story.items)).read_text())
    if node:
        # The records of another host stand between the two.
        other = Story(node="hv2").vm("x", UUID2).machine_id().booted()
        with path.open("a") as log:
            log.write(Path(write_log(tmp_path / "more", other.items)).read_text())
    place = f"node={node} " if node else ""
    container_boots(path, story.time + 120, story.serial + 1, place)
    assert len(by_recall([str(path)], wanted)[0]) == 1
    assert by_recall([str(path)], wanted)[0] == by_all([str(path)], Wanted())


@pytest.mark.parametrize(
    "wanted", [Wanted(uuid=UUID), Wanted(name="web01"), Wanted(mac=MAC)]
)
@pytest.mark.parametrize("node", [None, "hv1"])
def test_a_boot_that_only_the_numbers_of_another_vm_show(
    node: str | None, wanted: Wanted, tmp_path: Path
) -> None:
    story = Story(node=node)
    story.serial = 5000
    story.machine_id().open().start().booted().reboot_unseen()
    story.vm("db01", UUID2).machine_id().open(OTHER).start(OTHER).booted()
    # Another host wrote the last record.
    story.node = "hv2" if node else None
    story.serial += 9000
    path = write_log(tmp_path / "log", story.vm("x", UUID[:-1] + "9").stop().items)
    assert by_recall([path], wanted)[0] == []
    assert [uuid for uuid, *_rest in by_all([path], Wanted())] == [UUID2]


@pytest.mark.parametrize("wanted", [Wanted(name="web01"), Wanted(mac=OTHER)])
@pytest.mark.parametrize("uuid", [UUID, UUID2])
@pytest.mark.parametrize("known", [True, False])
def test_untrusted_records_are_found(
    known: bool, uuid: str, wanted: Wanted, tmp_path: Path
) -> None:
    story = Story().machine_id().open().start().booted() if known else Story()
    forged = story.vm("web01", uuid).forged(OTHER).items[-1]
    path = write_log(tmp_path / "log", story.vm("db01", UUID2).stop().items)
    trail = Trail()
    with given_logs([path]) as (logs, unread):
        trail.read(recall(logs_of(logs, unread), wanted, False).items, NOW)
    found = [(each.code, each.events) for each in trail.findings.all()]
    assert found == [("untrusted_record", [forged.event])]


@pytest.mark.parametrize(
    "wanted", [Wanted(uuid=UUID), Wanted(name="web01"), Wanted(mac=MAC)]
)
@pytest.mark.parametrize(
    ("sound", "damaged"),
    [
        (UUID2, UUID2[:-1] + "Z"),
        (UUID2, UUID2[:-1]),
        (UUID2, UUID2.replace("c1e2", "C1e2")),
        (OTHER, "52:54:00:00:00:0g"),
        (OTHER, "52:54:00:00:00:0"),
        (f'="{OTHER}"', f'="{OTHER}'),
    ],
)
def test_a_damaged_record_is_unread_as_in_reading_all(
    sound: str, damaged: str, wanted: Wanted, tmp_path: Path
) -> None:
    story = Story().machine_id().open().start().booted()
    story.vm("db01", UUID2).attach(OTHER)
    path = Path(write_log(tmp_path / "log", story.items))
    path.write_text(path.read_text().replace(sound, damaged))

    def unread_by(read: t.Callable[[Logs], t.Iterable[Item]]) -> list[tuple[str, int]]:
        with given_logs([str(path)]) as (logs, unread):
            assert list(read(logs_of(logs, unread)))
            return [(each.problem, each.lines) for each in unread]

    found = unread_by(lambda logs: recall(logs, wanted, False).items)
    assert found == unread_by(lambda logs: read_all(logs, Wanted(), False))
    assert len(found) == 1


def test_a_copy_of_a_vm_with_its_uuid(tmp_path: Path) -> None:
    story = Story().machine_id().open().start().booted().later(60)
    story.vm("copy01", UUID).machine_id().open(OTHER).start(OTHER).booted()
    path = write_log(tmp_path / "log", story.items)
    every = by_all([path], Wanted())
    for wanted, place in ((Wanted(mac=MAC), 0), (Wanted(name="web01"), 0)):
        assert every[place] in by_recall([path], wanted)[0]
    assert by_recall([path], Wanted(mac=OTHER))[0][-1:] == every[1:]


NICS = ("open", "start", "attach", "detach", "close", "forged")
steps = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "machine_id",
                "open",
                "start",
                "booted",
                "stop",
                "attach",
                "detach",
                "close",
                "host_boots",
                "reboot_unseen",
                "container_boots",
                "forged",
            ]
        ),
        st.booleans(),
    ),
    max_size=25,
)


def said_by(
    path: str, read: t.Callable[[Logs], t.Iterable[Item]], name: str
) -> tuple[list[tuple[str, int]], list[str]]:
    """Return the unread lines, and the records of a VM that a user other than root sent."""
    trail = Trail()
    with given_logs([path]) as (files, unread):
        trail.read(read(logs_of(files, unread)), NOW)
        problems = sorted((each.problem, each.lines) for each in unread)
    found = [each for each in trail.findings.all() if each.vm == name]
    untrusted = [each for each in found if each.code == "untrusted_record"]
    return problems, sorted(event for each in untrusted for event in each.events)


@given(
    parts=st.lists(st.tuples(st.booleans(), steps), max_size=4),
    node=st.sampled_from([None, "hv1"]),
    damage=st.none() | st.tuples(st.integers(0, 99), st.sampled_from([UUID, OTHER])),
)
def test_agrees_with_reading_all(
    parts: list[tuple[bool, list[tuple[str, bool]]]],
    node: str | None,
    damage: tuple[int, str] | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # With this, most cases are about a VM that holds a NIC.
    story = Story(node=node).machine_id().open().start().booted()
    for second, words in parts:
        story.vm("x" if second else "web01", UUID2 if second else UUID).later(5)
        for word, other in words:
            say = getattr(story, word)
            t.cast(
                t.Callable[[], Story],
                functools.partial(say, OTHER) if other and word in NICS else say,
            )()
    if node:
        # Another host writes the last record.
        story.node = "hv2"
        story.vm("y", UUID[:-1] + "9").stop()
    path = write_log(tmp_path_factory.getbasetemp() / "story", story.items)
    if damage is not None:
        lines = Path(path).read_text().splitlines(keepends=True)
        at = damage[0] % len(lines)
        lines[at] = lines[at].replace(damage[1], damage[1][:-1] + "g")
        Path(path).write_text("".join(lines))
    every = by_all([path], Wanted())
    for uuid in (UUID, UUID2):
        mine = [each for each in every if each[0] == uuid]
        assert by_recall([path], Wanted(uuid=uuid))[0] == mine
    for mac in (MAC, OTHER):
        mine = [each for each in every if each[1] == mac]
        found = by_recall([path], Wanted(mac=mac))[0]
        assert [each for each in found if each[1] == mac] == mine
    for name in ("web01", "x"):
        wanted = Wanted(name=name, since=0.0)
        said = said_by(path, functools.partial(recalled, wanted), name)
        assert said == said_by(path, lambda logs: read_all(logs, Wanted(), False), name)


def recalled(wanted: Wanted, logs: Logs) -> t.Iterable[Item]:
    return recall(logs, wanted, False).items


@pytest.mark.parametrize("asked", [{"uuid": UUID}, {"name": "web01"}, {"mac": MAC}])
@pytest.mark.parametrize("end", ["start", "boot", "boot and start", "stop and start"])
def test_the_run_at_the_time_of_the_question(
    end: str, asked: dict[str, str], tmp_path: Path
) -> None:
    story = Story().machine_id().open().start().booted().later(100)
    since = story.time
    if "stop" in end:
        story.later(100).stop()
    if "boot" in end:
        story.later(100).reboot_unseen().vm("other", UUID2).machine_id().open(OTHER)
    if "start" in end:
        story.vm("web01", UUID).later(9).machine_id().open().start().booted()
    path = write_log(tmp_path / "log", story.items)
    answers = [
        ask([path], since=str(since), events=False, history=history, **asked)
        for history in (True, False)
    ]
    for kind in ("sessions", "grants"):
        assert answers[0][kind] == answers[1][kind]
    assert [each["end"] for each in answers[1]["sessions"]] == [
        "stopped" if "stop" in end else "lost",
        *(["running"] if "start" in end else []),
    ]
