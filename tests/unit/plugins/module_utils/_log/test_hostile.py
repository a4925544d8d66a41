# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts that a user wrote to make the reader work for a very long time, or to make it fail.

Each text is long and repeats a piece that some regular expression looks for. A linear reading of a text takes
milliseconds, and a quadratic one takes minutes. A child reads them. The kernel ends the child if one text takes
seconds of processor time, so that the test fails and does not hang.

The unit tests read a sample. This command reads all texts, in a checkout in a collections tree::

    VIRTAUDIT_HOSTILE_STEP=1 pytest tests/unit/plugins/module_utils/_log/test_hostile.py
"""

from __future__ import annotations

import itertools
import os
import signal
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import RecordError
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import lines as log
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.clock import Clock
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.grepped import (
    in_order_of_files,
    names_files,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.old import parse_old
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import (
    parse_virt,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.refused import refusal
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.scan import (
    BOOT_NEEDLES,
    Line,
    in_head,
)
from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._log.test_fuzz import (
    KERNEL,
    other_forms,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import line_of
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

# The test reads only one of this many texts.
STEP = int(os.environ.get("VIRTAUDIT_HOSTILE_STEP", "11"))
SIZE = 200_000
SECONDS = 4.0
# The regular expressions of the readers look for these pieces. Each piece is alone and beside the text that ends it.
PIECES = [
    "A=A",
    'A="A" ',
    "'A=\"",
    "'\x1dA=A",
    "' ",
    "' A",
    "'",
    '"',
    '""',
    " ",
    "\t",
    "a",
    "A",
    "1",
    "a/:",
    "/-",
    "a.1-",
    "\\",
    '\\"',
    "[1.1",
    "1.1",
    "node=",
    "node=a ",
    "type=",
    "type=A ",
    "type=VIRT_RESOURCE msg=audit(1.0:1): ",
    "VIRT_RESOURCE ",
    "audit(1.0:1): pid=1",
    "pid=1 auid=1 ",
    "ses=1 comm=a exe=a",
    " key=",
    "mode=020600 ",
    " rdev=a:a",
    " subj=a",
    "msg='resrc=",
    " uuid=1",
    " uuid=00000000-",
    ' path=a exe="a"',
    " path=a",
    " exe=a",
    " hostname=a",
    " (hostname=a,",
    "avc:  denied  { ",
    "&quot;",
    "&#9",
    "\x1b[1",
    "<1>",
    "{",
    "[",
    '{"a":',
    "\x1d",
    "At 10:10:10 a ",
    "1. a a ",
]
# The texts that must come before a piece, so that a reader takes the piece for this part of a record.
TEXTS = [
    "",
    "audit(1.0:1): pid=1 msg='resrc=",
    "avc:  denied  { ",
    'virt=kvm resrc=evdev reason=start vm="a" ',
    "op=start exe=a ",
    "a/",
    "Sun 2024-05-12 12:47:59 ",
    "May 12 12:47:59 ",
    "[ 1.1",
]


def a_record() -> bytes:
    return line_of(Story().start().items[0]).rstrip("\n").encode()


def forms() -> dict[str, bytes]:
    named = {f"form {i}": form for i, form in enumerate(other_forms(a_record()))}
    kernel = {f"kernel {i}": line for i, line in enumerate(KERNEL)}
    return {"auditd": a_record(), **kernel, **named}


def with_pieces(line: str, piece: str) -> t.Iterator[str]:
    """Repeat a piece very often before, within and after the parts of a line, and in place of its end."""
    many = piece * (SIZE // len(piece))
    yield many + line
    for word in ("msg='", " vm=", " exe=", " pid=", " mode=", "{ "):
        at = line.find(word) + len(word)
        if at >= len(word):
            yield line[:at] + many + line[at:]
            yield line[:at] + many
    yield line + many
    yield line + many + "\x1d msg=audit("


def read_everything(text: str) -> None:
    """Read a text with each reader that sees a text from a log."""
    clock = Clock(1795450200.0)
    content = text.encode("utf-8", "surrogateescape")
    line = Line(content, content)
    parse_virt(text)
    items = [*log.read_line(line, clock).items]
    log._WHOLE.match(content)
    names_files(content)
    list(in_order_of_files([line], lambda _line: []))
    trail = Trail(details=True)
    for item in items:
        trail.take(item)


def read_text(text: str) -> None:
    """Read a text that may be the text of a message or the beginning of a file."""
    read_everything(text)
    refusal(text)
    for kind in ("VIRT_CONTROL", "VIRT_RESOURCE"):
        parse_old(kind, text)
        try:
            Record.parse(kind, text)
        except RecordError:
            pass


def in_a_child(
    texts: t.Iterable[str], read: t.Callable[[str], None], note: Path
) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
            for text in itertools.islice(texts, None, None, STEP):
                note.write_text(ascii(f"{text[:300]} ... {text[-300:]}"))
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
                read(text)
            code = 0
        finally:
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, note.read_text()


@pytest.mark.parametrize("name", forms())
def test_long_texts_in_each_form(name: str, tmp_path: Path) -> None:
    line = forms()[name].decode("utf-8", "surrogateescape")
    texts = (text for piece in PIECES for text in with_pieces(line, piece))
    in_a_child(texts, read_everything, tmp_path / "note")


@pytest.mark.parametrize("before", TEXTS)
def test_long_texts_by_themselves(before: str, tmp_path: Path) -> None:
    texts = (
        before + piece * (SIZE // len(piece)) + after
        for piece in PIECES
        for after in ("", "VIRT_RESOURCE ", "'", '"')
    )
    in_a_child(texts, read_text, tmp_path / "note")


def test_many_records_of_a_boot(tmp_path: Path) -> None:
    line = "type=SYSTEM_BOOT msg=audit(1.0:7): pid=9 uid=1000 auid=1000 ses=3 msg='x'\n"

    def read(text: str) -> None:
        assert len(in_head(text.encode(), BOOT_NEEDLES)) == SIZE // 10

    in_a_child([line * (SIZE // 10)], read, tmp_path / "note")
