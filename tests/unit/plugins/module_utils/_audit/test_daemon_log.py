# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.daemon_log import (
    DaemonLog,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditLogError,
)

FIRST, SECOND = "1795448404.573:345", "1795448404.573:346"


def record(name: str = "web01") -> Record:
    return Record("VIRT_RESOURCE", {"reason": "open", "vm": name, "res": "success"})


def line(
    event: str = FIRST,
    wanted: Record | None = None,
    kind: str = "VIRT_RESOURCE",
    before: str = "",
    after: str = "",
) -> bytes:
    text = (wanted or record()).text()
    said = f"type={kind} msg=audit({event}): pid=7 uid=0 auid=1000 ses=7 msg='{text}'"
    return f"{before}{said}{after}\n".encode()


@pytest.fixture(name="log")
def fixture_log(path: Path) -> t.Iterator[DaemonLog]:
    """A log that already has the first record, which may be of an earlier task."""
    path.write_bytes(line(SECOND, record("older-vm")))
    log = DaemonLog(str(path))
    yield log
    log.close()


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as handle:
        handle.write(b"".join(lines))


@pytest.mark.parametrize(
    "written",
    [
        line(),
        line(before="node=hv1.example.org "),
        line(after='\x1dUID="root" AUID="ops"'),
        b"type=USER_CMD msg=audit(1795448404.573:344): x\n" + line(),
        b"\n\xff\xfe\n" + line(),
    ],
    ids=["raw", "node", "enriched", "after others", "after garbage"],
)
def test_a_record_that_the_log_has(log: DaemonLog, path: Path, written: bytes) -> None:
    append(path, written)
    assert log.await_records({FIRST: record()}, 0) == {}


@pytest.mark.parametrize(
    "written",
    [
        b"",
        line(SECOND),
        line(FIRST, record("web02")),
        line(kind="VIRT_CONTROL"),
        line()[:-1],
        line()[:-2] + b"\n",
        line()[:60] + b"\n",
        b"type=USER msg=audit(1.000:1): msg='" + line()[:-1] + b"'\n",
        b"x " + line(),
    ],
    ids=["nothing", "event", "text", "type", "no end", "quote", "cut", "within", "x"],
)
def test_a_record_that_the_log_does_not_have(
    log: DaemonLog, path: Path, written: bytes
) -> None:
    append(path, written)
    assert log.await_records({FIRST: record()}, 0) == {FIRST: record()}


def test_an_older_record_is_not_of_this_task(
    log: DaemonLog,
) -> None:
    wanted = {SECOND: record("older-vm")}
    assert log.await_records(wanted, 0) == wanted


def test_a_line_that_comes_in_parts(log: DaemonLog, path: Path) -> None:
    whole = line()
    for start in range(0, len(whole), 17):
        assert log.await_records({FIRST: record()}, 0)
        append(path, whole[start : start + 17])
    assert log.await_records({FIRST: record()}, 0) == {}


def test_a_record_that_comes_late(log: DaemonLog, path: Path) -> None:
    def write() -> None:
        time.sleep(0.05)
        append(path, line())

    writer = threading.Thread(target=write)
    writer.start()
    assert log.await_records({FIRST: record()}, 30) == {}
    writer.join()


def rotate(path: Path, number: int = 1) -> None:
    if path.with_name(f"{path.name}.{number}").exists():
        rotate(path, number + 1)
    name = path.name if number == 1 else f"{path.name}.{number - 1}"
    path.with_name(name).rename(path.with_name(f"{path.name}.{number}"))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_rotation(log: DaemonLog, path: Path, times: int) -> None:
    wanted = {FIRST: record(), SECOND: record("web02")}
    append(path, line())
    for _time in range(times):
        rotate(path)
        append(path, b"type=DAEMON_ROTATE msg=audit(1.000:1): x\n")
    append(path, line(SECOND, record("web02")))
    assert log.await_records(wanted, 0) == {}


def test_the_moment_of_a_rotation(log: DaemonLog, path: Path) -> None:
    rotate(path)
    assert log.await_records({FIRST: record()}, 0)
    append(path.with_name("audit.log.1"), line())
    assert log.await_records({FIRST: record()}, 0) == {}


def test_a_rotation_that_removes_the_file(log: DaemonLog, path: Path) -> None:
    append(path, line())
    path.unlink()
    append(path, line(SECOND, record("web02")))
    wanted = {FIRST: record(), SECOND: record("web02")}
    assert log.await_records(wanted, 0) == {}


def test_a_log_that_is_emptied(log: DaemonLog, path: Path) -> None:
    os.truncate(path, 0)
    append(path, line())
    assert path.stat().st_size != 0
    assert log.await_records({FIRST: record()}, 0) == {}


def test_a_log_of_others_that_is_large(log: DaemonLog, path: Path) -> None:
    append(path, b"type=X msg=audit(1.000:1): x\n" * 200000, line())
    assert log.await_records({FIRST: record()}, 0) == {}


@pytest.mark.parametrize("kind", ["none", "directory"])
def test_a_log_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "audit.log"
    if kind == "directory":
        path.mkdir()
    with pytest.raises(AuditLogError, match="cannot be read"):
        DaemonLog(str(path)).await_records({FIRST: record()}, 0)


def test_its_files_are_closed(log: DaemonLog, path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _time in range(5):
        rotate(path)
        append(path, b"x\n")
        log.await_records({FIRST: record()}, 0)
    assert len(os.listdir("/proc/self/fd")) == before
