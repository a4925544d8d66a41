# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import backwards, scan
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.backwards import (
    lines_backwards,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.files import LogFile
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.forwards import (
    lines_with,
)

NEEDLES = [b"ab", b"c"]
contents = st.lists(st.sampled_from([b"a", b"b", b"c", b"x", b"\n", b"\0", b"ab"])).map(
    b"".join
)


@pytest.fixture(name="path")
def fixture_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "lines"


def both_ways(path: Path) -> tuple[list[bytes], list[bytes]]:
    log = LogFile(str(path))
    try:
        return (
            [line.text for line in lines_with(log, NEEDLES)],
            [line.text for line in lines_backwards(log, NEEDLES)],
        )
    finally:
        log.close()


def small_blocks(patched: pytest.MonkeyPatch, block: int, longest: int) -> None:
    patched.setattr(scan, "BLOCK_BYTES", block)
    patched.setattr(backwards, "BLOCK_BYTES", block)
    patched.setattr(backwards, "_FIRST_BLOCK_BYTES", max(1, block // 2))
    patched.setattr(scan, "_LONGEST_LINE_BYTES", longest)
    patched.setattr(scan, "CONTEXT_BYTES", 16)


@given(content=contents, block=st.integers(1, 50), packed=st.booleans())
def test_lines(
    content: bytes, block: int, packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(gzip.compress(content) if packed else content)
    wanted = [
        line
        for line in re.split(rb"[\n\0]", content)
        if any(needle in line for needle in NEEDLES)
    ]
    with pytest.MonkeyPatch.context() as patched:
        small_blocks(patched, block, 1000)
        forwards, backwards = both_ways(path)
    assert forwards == wanted
    assert backwards == wanted[::-1]


@given(content=contents, block=st.integers(1, 30), longest=st.integers(1, 20))
def test_a_line_that_is_too_long_is_not_read_as_another_line(
    content: bytes,
    block: int,
    longest: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(content)
    known = re.split(rb"[\n\0]", content)
    with pytest.MonkeyPatch.context() as patched:
        small_blocks(patched, block, longest)
        forwards, backwards = both_ways(path)
    short = [
        line
        for line in known
        if len(line) <= longest and any(needle in line for needle in NEEDLES)
    ]
    for found in (forwards, backwards[::-1]):
        assert [line for line in found if line in short] == short
        # A cut piece ends in a way that never makes it a record.
        assert all(line in known or line.endswith(b"\xff...") for line in found)


RECORDS = [
    b"type=%s msg=audit(1.0:%d): x"
    % (kind, 7 if kind.startswith(b"DAEMON_") else number)
    for number in range(3)
    for kind in (b"SYSTEM_BOOT", b"DAEMON_START", b"USER", b"USER", b"VIRT_CONTROL")
]


@given(
    records=st.lists(st.sampled_from([*RECORDS, b"node=b " + RECORDS[2]]), max_size=12),
    block=st.integers(1, 120),
    packed=st.booleans(),
)
def test_the_records_beside_a_boot_are_found_in_other_blocks(
    records: list[bytes],
    block: int,
    packed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    text = b"".join(record + b"\n" for record in records)
    path.write_bytes(gzip.compress(text) if packed else text)
    needles = [b"VIRT_", *scan.BOOT_NEEDLES]
    found = []
    for size in (block, 1 << 20):
        with pytest.MonkeyPatch.context() as patched:
            small_blocks(patched, size, 1 << 16)
            patched.setattr(scan, "CONTEXT_BYTES", 1 << 16)
            log = LogFile(str(path))
            found += [[*lines_with(log, needles)], [*lines_backwards(log, needles)]]
            log.close()
    one, one_backwards, whole, whole_backwards = map(of_kernel, found)
    assert one == whole
    assert one_backwards == whole_backwards
    for lines in found:
        virt = [line for line in lines if b"VIRT_" in line.text]
        assert len(virt) == len(set(virt)) == text.count(b"VIRT_")


def of_kernel(lines: list[scan.Line]) -> list[scan.Line]:
    """Return the records that have a number of the kernel. A record between two boots can be in the result twice."""
    return [line for line in dict.fromkeys(lines) if b"DAEMON_" not in line.text]


def test_the_system_call_before_a_path(path: Path) -> None:
    call, path_record, other = (
        b"type=%s msg=audit(1.0:%d): ab" % each
        for each in ((b"SYSCALL", 7), (b"PATH", 7), (b"PATH", 8))
    )
    path.write_bytes(b"1\nnode=x %s\n2\n%s\n%s\nc\n" % (call, path_record, other))
    log = LogFile(str(path))
    with pytest.MonkeyPatch.context() as patched:
        small_blocks(patched, 3, 1000)
        patched.setattr(scan, "CONTEXT_BYTES", 100)
        found = [tuple(line)[:2] for line in lines_with(log, NEEDLES)]
    log.close()
    assert found == [
        (b"node=x " + call, b""),
        (path_record, call),
        (other, b""),
        (b"c", b""),
    ]


def test_backwards_reads_no_further_than_asked(path: Path) -> None:
    path.write_bytes(b"ab\n" + b"x\n" * 500_000 + b"c\n")
    log = LogFile(str(path))
    read = []
    real = log.read_at

    def noting(position: int, size: int) -> bytes:
        read.append(size)
        return real(position, size)

    log.read_at = noting  # type: ignore[method-assign]
    lines = lines_backwards(log, NEEDLES)
    assert next(lines).text == b"c"
    assert sum(read) == 65537
    assert [line.text for line in lines] == [b"ab"]
    assert log.size <= sum(read) < 2 * log.size
    log.close()


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_broken_gzip_file(path: Path, damage: str) -> None:
    packed = bytearray(gzip.compress(b"ab\n" * 100_000, compresslevel=0))
    if damage == "cut":
        del packed[-5000:]
    else:
        packed[200_000:200_100] = b"\xff" * 100
    path.write_bytes(packed)
    log = LogFile(str(path))
    with pytest.raises(OSError, match="gzip"):
        list(lines_with(log, NEEDLES))
    with pytest.raises(OSError, match="gzip"):
        list(lines_backwards(log, NEEDLES))
    log.close()


def test_texts_longer_than_what_is_searched(path: Path) -> None:
    path.write_bytes(b"a")
    log = LogFile(str(path))
    assert list(lines_with(log, [b"abc" * 100])) == []
    log.close()


def test_a_log_that_is_cut_while_it_is_read(path: Path) -> None:
    path.write_bytes(b"ab\n" * 100)
    with pytest.MonkeyPatch.context() as patched:
        small_blocks(patched, 30, 10)
        for lines in (lines_with, lines_backwards):
            log = LogFile(str(path))
            os.truncate(path, 200)
            with pytest.raises(OSError, match="became shorter"):
                list(lines(log, NEEDLES))
            log.close()
            os.truncate(path, 300)


def test_memory_stays_flat_where_each_event_is_the_open_of_a_device(path: Path) -> None:
    event = (
        b"type=SYSCALL msg=audit(1.0:%d): arch=c000003e syscall=257 success=yes exit=4\n"
        b'type=PATH msg=audit(1.0:%d): item=0 name="/dev/null" mode=020666 rdev=01:03\n'
    )
    path.write_bytes(b"".join(event % (i, i) for i in range(30_000)))
    log = LogFile(str(path))
    found = scan.search(
        log.read_at, log.size, 0, log.size, [b" mode=020"], scan.CONTEXT_BYTES
    )
    log.close()
    assert len(found) == 30_000
    assert sum(len(line.before) for line in found) < log.size


@pytest.mark.parametrize("packed", [False, True])
def test_no_number_of_boots_in_a_row_hides_the_record_after_them(
    packed: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boots = [b"type=SYSTEM_BOOT msg=audit(1.0:%d): x" % number for number in range(999)]
    records = [b"type=VIRT_CONTROL msg=audit(1.0:%d): x" % number for number in (1, 2)]
    lines = [*boots, records[0], *boots, records[1]]
    text = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(text) if packed else text)
    small_blocks(monkeypatch, 4096, 1024)
    log = LogFile(str(path))
    pieces = [text[at : at + 4096] for at in range(0, len(text), 4096)]
    monkeypatch.setattr(log, "_unpacked", lambda _packing: iter(pieces))
    found = [*lines_with(log, [b"VIRT_", *scan.BOOT_NEEDLES])]
    log.close()
    assert list(dict.fromkeys(line.text for line in found)) == list(
        dict.fromkeys(lines)
    )
    assert [line.text for line in found if b"VIRT_" in line.text] == records
