# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A boot that left no record of itself."""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
import time
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.kernel import Majors
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.boot import (
    Host,
    boot_mark,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.given import (
    given_logs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.items import Mark
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.recall import (
    read_all,
    recall,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.wanted import Wanted
from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_cases import (
    ask,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import (
    line_of,
    noise,
    write_log,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.logs import logs_of
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

NOW = 9_999_999.0
BOOTED = 5000.0
HOST = Host(frozenset((None, "hv1")), BOOTED)
RUN = 4
WAYS = [Wanted(), Wanted(uuid=UUID), Wanted(name="web01")]


def started(path: Path, node: str | None = None) -> str:
    """A log with one running VM, at 1001 to 1004 seconds, with the numbers 101 to 104."""
    write_log(path, Story(node=node).machine_id().open().start().booted().items)
    return str(path)


def holders(paths: list[str], wanted: Wanted, host: Host | None) -> list[str]:
    trail = Trail()
    with given_logs(paths) as (logs, unread):
        if wanted.any_vm():
            trail.read(read_all(logs_of(logs, unread, host), wanted, False), NOW)
        else:
            trail.read(recall(logs_of(logs, unread, host), wanted, False).items, NOW)
    return [grant.uuid for grant in trail.grants()]


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(uuid=UUID), Wanted(name="web01")])
@pytest.mark.parametrize("before", [0, 30, 3000])
def test_a_boot_without_a_record_ends_everything(
    before: int, wanted: Wanted, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log"))
    with path.open("a") as log:
        log.write(noise(1010, 110, before))
        # The count goes on until the last number tells nothing.
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


def daemon(time: int, kind: str = "DAEMON_START", node: str = "") -> str:
    return f"{node}type={kind} msg=audit({time}.000:7777): op=start ver=3.0.9\n"


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(uuid=UUID), Wanted(name="web01")])
@pytest.mark.parametrize("node", ["", "node=hv1 "])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("first", "held"),
    [
        # The count starts again, and goes on until the last number tells nothing.
        (5, []),
        # Only the daemon was restarted.
        (8110, [UUID]),
    ],
)
def test_a_daemon_that_starts_shows_whether_the_kernel_counts_anew(
    first: int, held: list[str], packed: bool, node: str, wanted: Wanted, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log", node[5:-1] or None))
    with path.open("a") as log:
        log.write(noise(1010, 110, 8000, node) + daemon(9090, "DAEMON_END", node))
        log.write(noise(9090, 1, 1, "node=other ") if node else "")
        log.write(daemon(9100, node=node) + noise(9101, first, 9000, node))
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert holders([str(path)], wanted, None) == held


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(uuid=UUID), Wanted(name="web01")])
def test_a_daemon_that_starts_with_a_new_file(wanted: Wanted, tmp_path: Path) -> None:
    old, new = Path(started(tmp_path / "old")), tmp_path / "new"
    with old.open("a") as log:
        log.write(noise(1010, 110, 3000))
    new.write_text(daemon(9100) + noise(9101, 200, 4000))
    assert holders([str(old), str(new)], wanted, None) == []


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(uuid=UUID)])
def test_the_boot_of_a_container_is_no_boot_of_the_host(
    wanted: Wanted, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log"))
    boot = "type=SYSTEM_BOOT msg=audit(3010.000:2110): pid=77 uid=0 msg='x'\n"
    with path.open("a") as log:
        log.write(noise(1010, 110, 2000) + boot + noise(3011, 2111, 9))
    assert holders([str(path)], wanted, None) == [UUID]


def ending(kind: str, uid: int, time: int, serial: int) -> str:
    return (
        f"type={kind} msg=audit({time}.000:{serial}): pid=4321 uid={uid} auid=1000 ses=3"
        ' msg=\' comm="x" exe="/tmp/x" hostname=? addr=? terminal=? res=success\'\n'
    )


@pytest.mark.parametrize("wanted", WAYS)
@pytest.mark.parametrize(
    ("missing", "neighbour", "booted", "held"),
    [
        # The host was quiet.
        (0, False, 0.0, [UUID]),
        # The record changed places with its neighbour.
        (1, True, 0.0, [UUID]),
        # So many records got lost that only the time of the host's boot shows that the host booted.
        (300, False, 900.0, [UUID]),
        (300, False, 500.0, [UUID]),
        (300, False, 0.0, []),
    ],
)
def test_no_container_ends_what_vms_hold(
    missing: int,
    neighbour: bool,
    booted: float,
    held: list[str],
    wanted: Wanted,
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    first = noise(800, 60, 1) + noise(950, 61, 1) if booted else ""
    path.write_text(first + Path(started(tmp_path / "vm")).read_text())
    number = 105 + missing
    with path.open("a") as log:
        log.write(noise(1400, number + 1, int(neighbour)))
        log.write(ending("SYSTEM_BOOT", 0, 1400, number) + noise(2000, number + 2, 5))
    host = Host(HOST.nodes, booted) if booted else None
    assert holders([str(path)], wanted, host) == held


@pytest.mark.parametrize("wanted", WAYS)
@pytest.mark.parametrize("kind", ["SYSTEM_BOOT", "SYSTEM_SHUTDOWN"])
@pytest.mark.parametrize("number", [2, 105, 5000])
@pytest.mark.parametrize("uid", [0, 1000])
def test_only_root_can_say_that_the_host_went_down(
    uid: int, number: int, kind: str, wanted: Wanted, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log"))
    quiet = number == 105 and kind == "SYSTEM_BOOT"
    with path.open("a") as log:
        log.write(ending(kind, uid, 1400, number))
    trail = Trail()
    with given_logs([str(path)]) as (files, unread):
        logs = logs_of(files, unread)
        found = (
            read_all(logs, wanted, False)
            if wanted.any_vm()
            else recall(logs, wanted, False).items
        )
        trail.read(found, NOW)
    held = [grant.uuid for grant in trail.grants()]
    forged = [(each.code, each.events, each.auid) for each in trail.findings.all()]
    if uid and number != 2:
        assert (held, forged) == (
            [UUID],
            [("untrusted_record", [f"1400.000:{number}"], 1000)],
        )
    else:
        # The kernel's numbers alone show that they start again.
        assert held == ([UUID] if quiet and not uid else [])


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(uuid=UUID)])
@pytest.mark.parametrize(
    ("after", "held"),
    [
        ("", []),
        (noise(1901, 402, 3, kind="SERVICE_STOP") + daemon(1905, "DAEMON_END"), []),
        # Only a container shut down.
        (noise(1901, 402, 3), [UUID]),
        (noise(1901, 402, 1, "node=hv2 "), []),
    ],
)
def test_a_log_that_ends_when_its_host_goes_down(
    after: str, held: list[str], wanted: Wanted, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log"))
    with path.open("a") as log:
        log.write(noise(1010, 110, 9))
        log.write(noise(1900, 401, 1, kind="SYSTEM_SHUTDOWN") + after)
    assert holders([str(path)], wanted, None) == held
    # This host is up, because it reads the log.
    assert holders([str(path)], wanted, Host(HOST.nodes, 0.0)) == [UUID]
    earlier = Wanted(wanted.name, wanted.uuid, until=1890.0)
    assert holders([str(path)], earlier, None) == [UUID]


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


def test_only_the_current_run_is_read_if_records_name_their_node(
    tmp_path: Path,
) -> None:
    story = Story(node="hv1").machine_id().open().start().booted().stop()
    path = write_log(
        tmp_path / "log",
        story.machine_id().open().start().booted().items,
    )
    host = Host(HOST.nodes, 0.0)
    with given_logs([path]) as (logs, unread):
        read = [*recall(logs_of(logs, unread, host), Wanted(uuid=UUID), False).items]
        assert [item.event for item in read[:RUN]] == [
            item.event for item in story.items[-RUN:]
        ]
        assert len(read) == RUN + 1


def test_this_host() -> None:
    host = Host.this()
    assert None in host.nodes
    assert os.uname().nodename in host.nodes
    assert 0 < host.booted <= time.time()
    listed = re.findall(
        r"^ *(\d+) (macvtap|vhost-vdpa)$", Path("/proc/devices").read_text(), re.M
    )
    kinds = {int(number): name.removeprefix("vhost-") for number, name in listed}
    assert host.majors == Majors(kinds, host.booted)


@pytest.mark.parametrize("wanted", WAYS)
@pytest.mark.parametrize("kind", ["SYSTEM_BOOT", "SYSTEM_SHUTDOWN"])
@pytest.mark.parametrize("plain", [True, False])
def test_a_forged_end_long_before_the_end_of_the_log(
    plain: bool, kind: str, wanted: Wanted, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log"))
    later = noise(1401, 106, 300, kind="SERVICE_STOP")
    with path.open("a") as log:
        log.write(ending(kind, 1000, 1400, 105) + later)
        log.write("" if plain else "hello\n")
    assert holders([str(path)], wanted, None) == [UUID]


@pytest.mark.parametrize("name", ["web01", "nobody"])
@pytest.mark.parametrize("plain", [True, False])
def test_each_question_tells_of_a_forged_end(
    plain: bool, name: str, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log"))
    with path.open("a") as log:
        log.write(noise(1401, 105, 3, kind="SERVICE_STOP"))
        log.write(ending("SYSTEM_SHUTDOWN", 1000, 1405, 108))
        log.write(noise(1406, 109, 3, kind="SERVICE_STOP"))
        log.write("" if plain else "hello\n")
    for asked in ({}, {"name": name}):
        found = [each["code"] for each in ask([str(path)], **asked)["findings"]]
        assert found == ["untrusted_record"]


@pytest.mark.parametrize("since", [900.0, 3000.0, 4999.0, 5000.0, 9000.0])
@pytest.mark.parametrize("wanted", WAYS[1:])
def test_the_run_that_a_boot_without_a_record_ended(
    wanted: Wanted, since: float, tmp_path: Path
) -> None:
    path = Path(started(tmp_path / "log"))
    with path.open("a") as log:
        log.write(noise(1010, 110, 300) + noise(5001, 2, 5000))
    wanted = dataclasses.replace(wanted, since=since)
    found = []
    for searches in (False, True):
        trail = Trail(since)
        with given_logs([str(path)]) as (files, unread):
            logs = logs_of(files, unread, HOST)
            items = (
                recall(logs, wanted, False).items
                if searches
                else read_all(logs, wanted, False)
            )
            trail.read(items, NOW)
        found.append([each.result(True) for each in trail.sessions.values()])
    assert found[0] == found[1]
    assert [each["end"] for each in found[0]] == (["lost"] if since < 5001 else [])


@pytest.mark.parametrize("wanted", WAYS)
@pytest.mark.parametrize("back", [0, 3, 50, 900])
def test_a_clock_that_was_set_back_before_the_log_was_packed(
    back: int, wanted: Wanted, tmp_path: Path
) -> None:
    old = Path(started(tmp_path / "old"))
    with old.open("a") as log:
        log.write(noise(1005, 105, 995))
        log.write(line_of(Story("db", UUID[:-1] + "9").later(1000).stop().items[0]))
        log.write(noise(2001, 1102, 3))
    text = old.read_text().replace("(2000.000:101)", "(2000.000:1101)")
    (tmp_path / "audit.log.1.gz").write_bytes(gzip.compress(text.encode()))
    new = tmp_path / "audit.log"
    new.write_text(noise(2004 - back, 1105, 2000))
    paths = [str(tmp_path / "audit.log.1.gz"), str(new)]
    host = Host(frozenset((None,)), 500.0)
    assert holders(paths, wanted, host) == [UUID]


@pytest.mark.parametrize("wanted", WAYS)
def test_a_shutdown_before_the_start_of_the_vm(wanted: Wanted, tmp_path: Path) -> None:
    path = tmp_path / "log"
    started(path)
    vm = [line for line in path.read_text().splitlines(True) if "=VIRT_" in line]
    path.write_text(ending("SYSTEM_SHUTDOWN", 0, 900, 5000) + "".join(vm))
    assert holders([str(path)], wanted, None) == [UUID]
