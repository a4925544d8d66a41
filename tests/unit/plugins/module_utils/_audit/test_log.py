# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import log
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.log import (
    records_of,
)

UUID = "c1e2f3a4-0001-4000-8000-000000000011"
OTHER = "c1e2f3a4-0001-4000-8000-000000000012"
LIBVIRTS = Path(__file__).parents[3] / "fixtures" / "libvirt-9.0.0-records.log"


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The audit daemon's log, named by its configuration."""
    path = tmp_path / "log" / "audit.log"
    path.parent.mkdir()
    configuration = tmp_path / "auditd.conf"
    configuration.write_text(
        f"# log_file = /none\nlog_group = adm\nLog_File = {path}\n"
    )
    monkeypatch.setattr(log, "_CONFIGURATION", str(configuration))
    return path


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


def test_path_is_the_daemons(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log.log_path() == str(path)
    monkeypatch.setattr(log, "_CONFIGURATION", "/nonexistent")
    assert log.log_path() == "/var/log/audit/audit.log"


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
    (path.parent / "audit.log.4").write_text(line(90))
    assert serials(since=since) == expected


def test_no_older_file_is_read_than_needed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(line(4) + line(5) + line(6))
    (path.parent / "audit.log.1").write_text(line(1))
    read = []
    real = log._lines_backwards

    def noting(name: str) -> t.Iterator[bytes]:
        read.append(name)
        return real(name)

    monkeypatch.setattr(log, "_lines_backwards", noting)
    assert serials(since=1005.0) == [5, 6]
    assert read == [str(path)]


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b""))),
    block=st.integers(1, 50),
    ended=st.booleans(),
)
def test_lines_backwards(
    lines: list[bytes],
    block: int,
    ended: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ended else b""))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(log, "_BLOCK_BYTES", block)
        found = list(log._lines_backwards(str(path)))
    assert found[::-1] == path.read_bytes().split(b"\n")
