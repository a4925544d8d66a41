# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import (
    backwards,
    files,
    items,
    recent,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import lines as log
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import parse as logged
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.recent import (
    records_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.scan import Line

UUID = "c1e2f3a4-0001-4000-8000-000000000011"
OTHER = "c1e2f3a4-0001-4000-8000-000000000012"
LIBVIRTS = Path(__file__).parents[3] / "fixtures" / "libvirt-9.0.0-records.log"


def line(
    serial: int,
    uuid: str = UUID,
    record_type: str = "VIRT_RESOURCE",
    before: str = "",
    after: str = "",
) -> str:
    return (
        f"{before}type={record_type} msg=audit({1000 + serial}.250:{serial}): pid=1 uid=0"
        f' auid=7 ses=3 subj=unconfined msg=\'virt=kvm vm="web01" uuid={uuid}'
        f" res=success'{after}\n"
    )


def serials(uuid: str = UUID, since: float = 0.0) -> list[int]:
    return [int(each.event.rpartition(":")[2]) for each in records_of(uuid, since)]


@pytest.mark.usefixtures("path")
def test_no_log() -> None:
    assert records_of(UUID, 0.0) == []


def test_libvirts_log(path: Path) -> None:
    path.write_bytes(LIBVIRTS.read_bytes())
    found = records_of(UUID, 0.0)
    assert len(found) == 26
    assert (found[0].event, found[0].time) == ("1795420505.783:178", 1795420505.783)
    assert found[0].record.type == "VIRT_MACHINE_ID"
    assert found[-1].record.fields["op"] == "stop"
    assert records_of(OTHER, 0.0) == []
    assert len(records_of(UUID, 1795420506.4)) == 7


def test_only_whole_records_of_the_vm(path: Path) -> None:
    forged = line(5, OTHER).replace("web01", f"x uuid={UUID}")
    path.write_text(
        line(1)
        + line(2, OTHER)
        + line(3, record_type="VIRT_CONTROL", after='\x1dUID="root"')
        + line(4, before="node=hv1 ")
        + forged
        + line(6, record_type="USER_CMD")
        + line(7).replace("res=success", "res=success uuid=x")
        + line(8)[:-20]
        + "\n"
        + "\n\0\0\n"
        + line(9)
        + line(10)[:-1]
    )
    assert serials() == [1, 3, 4, 9, 10]
    assert serials(OTHER) == [2, 5]


def test_since(path: Path) -> None:
    path.write_text("".join(line(serial) for serial in range(1, 6)))
    assert serials(since=1003.25) == [3, 4, 5]
    assert serials(since=1003.26) == [4, 5]
    assert serials(since=2000.0) == []


@pytest.mark.parametrize(
    ("since", "expected"),
    [(0.0, [1, 2, 3, 4, 5, 6]), (1003.0, [3, 4, 5, 6]), (1005.0, [5, 6])],
)
def test_rotated_files(path: Path, since: float, expected: list[int]) -> None:
    for number, name in enumerate(("audit.log.2", "audit.log.1", "audit.log")):
        first = 2 * number + 1
        (path.parent / name).write_text(line(first) + line(first + 1))
    assert serials(since=since) == expected


def test_no_older_file_is_read_than_needed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(line(4) + line(5) + line(6))
    (path.parent / "audit.log.1").write_text(line(1))
    read = []
    real = backwards.lines_backwards

    def noting(found: files.LogFile, needles: t.Sequence[bytes]) -> t.Iterator[Line]:
        read.append(found.path)
        return real(found, needles)

    monkeypatch.setattr(recent, "lines_backwards", noting)
    assert serials(since=1005.0) == [5, 6]
    assert read == [str(path)]


def items_of(text: str) -> list[items.Item]:
    """Read lines that follow one another in a log."""
    lines = text.encode("utf-8", "surrogateescape").split(b"\n")
    items = [
        log.parse_line(Line(each, b"\n".join(lines[:number])))
        for number, each in enumerate(lines)
    ]
    return [item for item in items if item is not None]


def test_the_values_of_a_record() -> None:
    (item,) = items_of(line(7, before="node=hv1 ", after='\x1dUID="alice" AUID="bob"'))
    assert isinstance(item, logged.Logged)
    assert (item.event, item.node, item.time) == ("1007.250:7", "hv1", 1007.25)
    assert (item.pid, item.uid, item.auid, item.ses) == (1, 0, 7, 3)
    assert item.user == "alice"
    assert item.record.fields == {
        "virt": "kvm",
        "vm": "web01",
        "uuid": UUID,
        "res": "success",
    }


@pytest.mark.parametrize("after", ["", '\x1dUID="alice"'])
def test_lines_with_windows_line_ends(after: str) -> None:
    wanted = items_of(line(7, after=after))
    assert len(wanted) == 1
    assert items_of(line(7, after=f"{after}\r")) == wanted


def test_identities_that_are_not_set() -> None:
    (item,) = items_of(
        line(7).replace("auid=7 ses=3", "auid=4294967295 ses=4294967295")
    )
    assert isinstance(item, logged.Logged)
    assert (item.auid, item.ses, item.user) == (None, None, None)


def test_boot_and_alerts() -> None:
    boot = "type=SYSTEM_BOOT msg=audit(9.001:2): pid=1 uid=0 auid=7 ses=3 msg='x'"
    anom = 'type=ANOM_ABEND msg=audit(9.002:3): pid=77 comm="qemu"\x1dUID="root"'
    assert items_of(f"node=hv1 {boot}\n{anom}") == [
        items.Boot("9.001:2", 9.001, "hv1"),
        items.Alert("9.002:3", 9.002, None, "ANOM_ABEND", 'pid=77 comm="qemu"'),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type=VIRT_RESOURCE",
        " " + line(1),
        "x" + line(1),
        line(1).replace("VIRT_RESOURCE", "VIRT_OTHER"),
        line(1).replace("1001.250:1", "1001.250"),
        line(1).replace("1001.250:1", "9" * 400 + ".0:1"),
        line(1).replace("1001.250:1", "\u0661.0:1"),
        # Not a year that can be real.
        line(1).replace("1001.250:1", "999999999990.000:1"),
        line(1).replace("pid=1 ", "pid=x "),
        line(1).replace("pid=1 ", ""),
        line(1).replace("auid=7", f"auid={'9' * 99}"),
        line(1).rstrip("\n") + " uuid=forged",
        line(1).rstrip("\n") + " msg='virt=kvm'x",
        line(1).replace("msg='", "msg='\x1d"),
        line(1).replace("res=success", "res=success' uuid=x msg='"),
    ],
)
def test_lines_without_a_record(text: str) -> None:
    assert items_of(text) == []


def test_a_lookalike_inside_another_record_is_no_record() -> None:
    forged = line(2).replace("'", "")
    assert items_of(f"type=USER_CMD msg=audit(1.0:1): pid=1 msg='cmd=\"{forged}") == [
        items.Mark("1.0:1", 1.0)
    ]


def test_a_lookalike_inside_a_name_is_text() -> None:
    # libvirt leaves a single quote and blanks in quotes. This collection would write hex.
    forged = f"x' type=VIRT_RESOURCE msg=audit(1.0:1): uuid={OTHER} "
    (item,) = items_of(line(5).replace("web01", forged))
    assert isinstance(item, logged.Logged)
    assert item.record.fields["vm"] == forged
    assert item.record.fields["uuid"] == UUID


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (line(1) + line(2), items.Mark("1002.250:2", 1002.25)),
        (
            line(1) + line(2, record_type="DAEMON_END"),
            items.Mark("1001.250:1", 1001.25),
        ),
        (line(1) + "type=VIRT_RES", items.Mark("1001.250:1", 1001.25)),
        (line(1, before="node=hv1 "), items.Mark("1001.250:1", 1001.25, "hv1")),
        ("\0\n" * 9, None),
        ("", None),
    ],
)
def test_last_mark(text: str, wanted: items.Mark | None, path: Path) -> None:
    path.write_text(text)
    with files.host_logs() as (logs, _unread):
        assert log.last_mark(logs[0]) == wanted
