# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal marks a boot between two of its entries. It ends the grants of its host, and only those from before it."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_cases import (
    ask,
)
from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_forms import (
    LINES,
    NUMBERS,
    UUID,
    WEB01,
    Parts,
    answer,
    each,
    entry,
    parts,
    write,
)

MARKS = ("-- Reboot --\n", f"-- Boot {'a' * 32} --\n")
WRITTEN = 1715511100


def short(host: str = "hv1", minute: int = 47) -> str:
    return each(
        lambda line: f"May 12 12:{minute}:59 {host} audit[1661]: {line.type} {line.body}"
    )


def other(text: str) -> str:
    """Return the records of another VM."""
    return text.replace("web01", "db01").replace("000000000001", "000000000002")


def ends(result: dict[str, t.Any]) -> list[tuple[str, str]]:
    return [(session["vm"], session["end"]) for session in result["sessions"]]


def logs(tmp_path: Path, *contents: str) -> list[str]:
    paths = []
    for number, content in enumerate(contents):
        paths.append(write(tmp_path / f"{number}.log", content))
        os.utime(paths[-1], (WRITTEN, WRITTEN))
    return paths


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("asked", [{}, {"name": "web01"}])
@pytest.mark.parametrize("first", [0, 1, 5])
def test_a_boot_in_two_copies_of_a_journal(
    first: int, asked: dict[str, t.Any], mark: str, tmp_path: Path
) -> None:
    old = other(short(minute=40)).splitlines(keepends=True)
    whole, later = (
        "".join(old[begin:]) + mark + short()
        for begin in (0, first and len(old) - 5 + first)
    )
    for paths in (logs(tmp_path, whole, later), logs(tmp_path, later, whole)):
        result = ask(paths, **asked)
        assert answer(result)[0] == WEB01[0]
        assert ("web01", "running") in ends(result)


@pytest.mark.parametrize("mark", MARKS)
def test_a_boot_that_only_the_later_copy_has(mark: str, tmp_path: Path) -> None:
    for later in (short() + mark, short() + mark + other(short(minute=50))):
        result = ask(logs(tmp_path, short(), later))
        assert ("web01", "lost") in ends(result)
        assert all(grant["vm"] == "db01" for grant in result["grants"])


@pytest.mark.parametrize("mark", MARKS)
def test_a_boot_at_the_end_of_the_shorter_copy(mark: str, tmp_path: Path) -> None:
    old = other(short(minute=40)) + mark
    for paths in (
        logs(tmp_path, old + short(), old),
        logs(tmp_path, old, old + short()),
    ):
        assert answer(ask(paths))[0] == WEB01[0]


@pytest.mark.parametrize("mark", MARKS)
def test_a_boot_that_auditds_log_has_too(mark: str, tmp_path: Path) -> None:
    boot = (
        "type=SYSTEM_BOOT msg=audit(1715510800.000:5): pid=1 uid=0 auid=1 ses=1 msg='x'"
    )
    raw = "".join(f"{line}\n" for line in (boot, *LINES))
    paths = logs(tmp_path, raw, f"{SHORT_NOISE}{mark}{short()}")
    assert answer(ask(paths))[0] == WEB01[0]


# A record before the boot, which only the journal has.
SHORT_NOISE = other(short(minute=30).splitlines(keepends=True)[0])


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("turn", [1, -1])
def test_a_boot_of_another_host(turn: int, mark: str, tmp_path: Path) -> None:
    second = other(short("hv2", 40)) + mark + other(short("hv2", 50))
    result = ask(logs(tmp_path, *(short(), second)[::turn]))
    assert [grant["vm"] for grant in result["grants"]] == ["web01", "db01"]
    assert sorted(session["end"] for session in result["sessions"]) == [
        "lost",
        "running",
        "running",
    ]


def as_json(line: Parts, boot: str, host: str) -> str:
    return json.dumps(entry(line, _BOOT_ID=boot * 32, _HOSTNAME=host))


def as_export(line: Parts, boot: str, host: str) -> str:
    fields = entry(line, _BOOT_ID=boot * 32, _HOSTNAME=host)
    return "".join(f"{key}={value}\n" for key, value in fields.items())


@pytest.mark.parametrize("form", [as_json, as_export])
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("turn", [1, -1])
def test_entries_that_name_another_boot(
    turn: int, copies: int, form: t.Callable[..., str], tmp_path: Path
) -> None:
    """The numbers of the second boot need not be lower than those of the first."""
    late = [
        line.replace("audit(17155108", "audit(17155109").replace("):", "0):")
        for line in LINES
    ]
    first = other(each(lambda line: form(line, "a", "hv1")))
    second = each(lambda line: form(line, "b", "hv1"), late)
    whole = (first + second).splitlines(keepends=True)
    if form is as_json:
        whole = whole[::turn]
    result = ask(logs(tmp_path, *["".join(whole)] * copies))
    assert answer(result) == (
        WEB01[0],
        [("db01", "lost"), ("web01", "running")],
        [],
    )


@pytest.mark.parametrize("kind", ["AUDIT{}", "<audit-{}>"])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_journal_that_has_no_names_for_the_types(
    turn: int, kind: str, tmp_path: Path
) -> None:
    lines = [
        f"May 12 12:{minute}:59 hv1 audit[1661]: {kind.format(NUMBERS[line.type])} {line.body}\n"
        for minute, line in enumerate(map(parts, LINES), 30)
    ]
    assert answer(ask(logs(tmp_path, "".join(lines[::turn])))) == WEB01


def test_another_boot_of_another_host(tmp_path: Path) -> None:
    lines = [
        other(line) if number % 2 else line
        for number, line in enumerate(sorted([*LINES, *LINES]))
    ]
    content = "".join(
        (
            as_json(parts(line), "b", "hv2")
            if "db01" in line
            else as_json(parts(line), "a", "hv1")
        )
        + "\n"
        for line in lines
    )
    result = ask(logs(tmp_path, content))
    assert [session["end"] for session in result["sessions"]] == ["running"] * 2
    assert len(result["grants"]) == 2


def test_few_entries_of_many_boots_with_the_newest_first(tmp_path: Path) -> None:
    old = other(each(lambda line: as_json(line, "a", "hv1"), LINES[-4:]))
    new = each(lambda line: as_json(line, "b", "hv1"), LINES[-1:])
    content = "".join((old + new).splitlines(keepends=True)[::-1])
    assert answer(ask(logs(tmp_path, content)))[1] == [
        ("db01", "lost"),
        ("web01", "running"),
    ]


def test_a_boot_that_only_one_of_two_copies_has_in_the_order_of_the_kernel(
    tmp_path: Path,
) -> None:
    """An extract that has no boot may come first, and the whole log then has the boot amid records that were read."""
    boot = (
        "type=SYSTEM_BOOT msg=audit(1715510500.000:5): pid=1 uid=0 auid=1 ses=1 msg='x'"
    )
    old = [
        other(line).replace("audit(17155108", "audit(17155103").replace("):", "0):")
        for line in LINES
    ]
    extract = "".join(f"{line}\n" for line in (*old, *LINES))
    whole = "".join(f"{line}\n" for line in (*old, boot, *LINES))
    as_entries = each(lambda line: as_json(line, "a", "hv1"), [*old, *LINES])
    for first in (extract, as_entries):
        for asked in ({}, {"name": "web01"}):
            result = ask(logs(tmp_path, first, whole), **asked)
            assert ("web01", "running") in ends(result)
            assert [g["vm"] for g in result["grants"] if g["vm"] == "web01"]


@pytest.mark.parametrize("asked", [{}, {"name": "web01"}])
def test_parts_of_a_journal_in_the_wrong_order(
    asked: dict[str, t.Any], tmp_path: Path
) -> None:
    early, late = other(short(minute=40)), short(minute=50)
    words = "go back from"
    for contents in ((early + late,), (late, early)):
        result = ask(logs(tmp_path, *contents), **asked)
        assert words not in " ".join(result["warnings"])
    result = ask(logs(tmp_path, late + early), **asked)
    assert words in " ".join(result["warnings"])


@pytest.mark.parametrize("mark", ["", *MARKS])
@pytest.mark.parametrize("name", ["hv1", "localhost", "localhost.localdomain"])
@pytest.mark.parametrize("first", [False, True])
def test_a_host_that_boots_before_it_has_its_name(
    first: bool, name: str, mark: str, tmp_path: Path
) -> None:
    boot = f"May 12 12:48:20 {name} audit[1]: SYSTEM_BOOT pid=1 uid=0 auid=1 ses=1 msg='x'\n"
    content = short() + mark + boot + other(short(minute=50))
    result = ask(logs(tmp_path, boot * first + content))
    assert [grant["vm"] for grant in result["grants"]] == ["db01"]
    two = content + short("hv2", 52).replace("web01", "x1").replace("0001 ", "0003 ")
    result = ask(logs(tmp_path, two + boot))
    assert ("x1", "running") in ends(result)


def test_marks_between_entries_of_two_hosts(tmp_path: Path) -> None:
    """A journal of several hosts has a mark wherever the entries of another host follow."""
    first, second = (f"-- Boot {letter * 32} --\n" for letter in "ab")
    one = short("hv1", 40).splitlines(keepends=True)
    two = other(short("hv2", 40)).splitlines(keepends=True)
    content = "".join(
        mine + second + others + first for mine, others in zip(one, two)
    ).removesuffix(first)
    result = ask(logs(tmp_path, content))
    assert sorted(ends(result)) == [("db01", "running"), ("web01", "running")]
    # The first host boots.
    booted = (
        content + f"-- Boot {'c' * 32} --\n" + short("hv1", 55).replace("web01", "x1")
    )
    result = ask(logs(tmp_path, booted))
    assert ("db01", "running") in ends(result)
    assert ("web01", "lost") in ends(result)


@pytest.mark.parametrize("mark", MARKS)
def test_a_boot_at_the_end_of_a_journal(mark: str, tmp_path: Path) -> None:
    assert answer(ask(logs(tmp_path, short() + mark)))[:2] == ([], [("web01", "lost")])


@pytest.mark.parametrize("asked", [{}, {"uuid": UUID}, {"name": "web01"}])
def test_a_boot_that_no_record_follows_in_the_last_of_two_logs(
    asked: dict[str, t.Any], tmp_path: Path
) -> None:
    boot = (
        "type=SYSTEM_BOOT msg=audit(1715511000.000:5): pid=1 uid=0 auid=1 ses=1 msg='x'"
    )
    paths = logs(tmp_path, "".join(f"{line}\n" for line in LINES), f"{boot}\n")
    result = ask(paths, **asked, since="2024-05-01T00:00:00Z")
    assert answer(result)[:2] == ([], [("web01", "lost")])
    assert result["stats"]["records"] == len(LINES) + 1
