# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._log.files import LogFile
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.within import (
    find_hidden,
)

STAMPED = b"May 12 12:47:59 hv1 x[9]: hello\n"


def field(name: bytes, value: bytes) -> bytes:
    return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


PARTS = [
    *(b"A=b\n", b"\n", b"x\n", b"type=USER msg=audit(1.0:1): \n", b"    y\n", b"\tz\n"),
    *(STAMPED, b"VIRT\n", b"A" * 90 + b"\n", b"12:47:59 " + b"x" * 1200 + b"\n"),
    *(
        field(b"M", value)
        for value in (b"", b"a\n\nb\n", b"\n" * 10, b"M\n" + b"\0" * 9)
    ),
    *(field(b"M", b"\n" * 2570), field(b"M" * 64, STAMPED + b"  \n")),
]


def shown(content: bytes, *cuts: int) -> bytes:
    """Return the records of a log that the code reads in blocks with these borders."""
    edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    blocks = [content[begin:end] for begin, end in zip(edges, edges[1:])]
    hidden = find_hidden(blocks)
    if hidden is None:
        return content
    whole = hidden.hide(content, 0)
    pieces = [hidden.hide(block, at) for block, at in zip(blocks, edges)]
    # At a border of a block, a first blank alone and a value of one byte look the same.
    assert len(b"".join(pieces)) == len(whole)
    return whole


@given(st.lists(st.sampled_from(PARTS)), st.lists(st.integers(0), max_size=5))
def test_blocks_do_not_matter(parts: list[bytes], cuts: list[int]) -> None:
    content = b"".join(parts)
    once = shown(content)
    assert shown(content, *cuts) == once
    assert shown(content, *range(0, len(content), 97)) == once
    assert len(once) == len(content)


@given(st.lists(st.sampled_from([part for part in PARTS if part[:1] not in b"M "])))
def test_other_logs_have_nothing_to_hide(parts: list[bytes]) -> None:
    content = b"".join(part for part in parts if not part.startswith(b"\t"))
    assert find_hidden([content]) is None


def test_a_value_is_one_line() -> None:
    before, value, after = b"A=b\n", b"a\n\ntype=X \0b\n", b"C=d\n\n"
    content = before + field(b"M", value) + after
    lines = shown(content).split(b"\n")
    assert lines[:2] == [b"A=b", b"M"]
    assert lines[2].endswith(b"a\xff\xfftype=X \xffb\xff")
    assert lines[3:] == [b"C=d", b"", b""]


@pytest.mark.parametrize("between", [b"", b"    more\n", b"  " + b"x" * 5000 + b"\n"])
def test_the_further_lines_of_a_message(between: bytes) -> None:
    content = STAMPED + between + b"    type=X\ntype=Y\n    type=Z\n"
    lines = shown(content).split(b"\n")
    assert lines[-4:] == [b"\xff   type=X", b"type=Y", b"    type=Z", b""]
    assert shown(content, 40, 60) == shown(content)


@pytest.mark.parametrize(
    "broken",
    [
        field(b"M", b"a\nb").replace(b"\n", b"\r\n"),
        field(b"M", b"a\nb")[:-2] + b"xyz\n",
        field(b"M", b"a\nb").replace(b"\x03", b"\xef\xbf\xbd"),
    ],
)
def test_nothing_is_a_line_behind_a_field_without_its_end(broken: bytes) -> None:
    content = b"A=b\n" + broken + b"type=X\n\ntype=Y\n"
    assert b"\n" not in shown(content).partition(b"M")[2].lstrip(b"\r\n")


@pytest.mark.parametrize("packed", [False, True])
def test_a_log_shows_the_same_from_everywhere(packed: bool, tmp_path: Path) -> None:
    content = b"A=b\n" * 20_000 + field(b"M", b"\nx" * 30_000) + b"C=d\n" + STAMPED
    content += b"    type=X\n" * 3
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(content) if packed else content)
    log = LogFile(str(path))
    raw = b"".join(log.blocks(1000))
    log.hide()
    whole = b"".join(log.blocks(1000))
    assert (raw, whole) == (content, shown(content))
    assert log.head() == whole[:65536]
    assert log.tail() == whole[-65536:]
    # The number is that of the line in the file.
    assert log.line_number(len(content) - 11) == content.count(b"\n")
    if not packed:
        assert log.read_at(79_990, 50_000) == whole[79_990:129_990]
    log.close()
