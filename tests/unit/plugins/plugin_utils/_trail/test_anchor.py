# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback sends the head to a socket such as the journal's or syslog's."""

from __future__ import annotations

import socket
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail import anchor
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.anchor import (
    AnchorError,
    choose,
    tell,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.heads import (
    Head,
    HeadError,
    parse_heads,
    read_heads,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.verify import main
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import write_trail

HEAD = Head(7, "0123456789abcdef" * 4, "c1e2f3a4-0001-4000-8000-000000000001", "/a b/c")
Listener = t.Callable[[str], socket.socket]


@pytest.fixture(name="listen")
def fixture_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> t.Iterator[Listener]:
    opened: list[socket.socket] = []
    for name in ("JOURNAL", "SYSLOG"):
        monkeypatch.setattr(anchor, name, str(tmp_path / name))

    def listen(name: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(tmp_path / name))
        listener.settimeout(10)
        opened.append(listener)
        return listener

    yield listen
    for each in opened:
        each.close()


def test_the_journal_gets_one_entry(listen: Listener) -> None:
    journal = listen("JOURNAL")
    listen("SYSLOG")
    assert choose(None) == "journal"
    tell("journal", HEAD)
    fields = dict(
        line.split("=", 1) for line in journal.recv(65536).decode().splitlines()
    )
    assert parse_heads(fields["MESSAGE"]) == [HEAD]
    assert fields["SYSLOG_IDENTIFIER"] == "virtaudit-trail"


def test_syslog_gets_one_line(listen: Listener) -> None:
    syslog = listen("SYSLOG")
    assert choose(None) == "syslog"
    tell("syslog", HEAD)
    line = syslog.recv(65536).decode()
    assert line.startswith("<85>virtaudit-trail[")
    assert parse_heads(f"Nov 28 23:00:00 ctl {line}\n") == [HEAD]


def test_without_journal_and_syslog_the_head_is_not_sent(listen: Listener) -> None:
    assert choose(None) == "none"
    tell("none", HEAD)
    kinds: tuple[anchor.Kind, ...] = ("journal", "syslog")
    for kind in kinds:
        with pytest.raises(AnchorError, match="could not be told"):
            tell(kind, HEAD)


def test_heads_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    other = HEAD._replace(lines=9)
    path.write_text(f"{HEAD.text()}\nnoise\nx: {other.text()}")
    assert read_heads(str(path)) == [HEAD, other]
    for bad in ("missing", "."):
        with pytest.raises(HeadError, match="cannot be read"):
            read_heads(str(tmp_path / bad))


def test_a_path_cannot_add_a_line() -> None:
    text = HEAD._replace(file="/a\n" + HEAD.text()).text()
    assert len(text.splitlines()) == 1


def test_a_head_in_a_directory_with_an_odd_name_belongs_to_its_file() -> None:
    odd = HEAD._replace(file="/a\n\udcff\u202eb/c.jsonl")
    (parsed,) = parse_heads(odd.text())
    assert parsed.file.endswith("/c.jsonl")
    assert parsed.file.isprintable()


@pytest.mark.parametrize("character", ["\x1b[2J", "\x9b2J", "\u202e", "\r"])
def test_a_head_from_syslog_cannot_control_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], character: str
) -> None:
    forged = f"lines=1 head={HEAD.head} run={HEAD.run} file=/{character}/x.jsonl\n"
    (tmp_path / "heads").write_bytes(forged.encode("utf-8"))
    write_trail(tmp_path / "trail")
    heads = str(tmp_path / "heads")
    assert main([str(tmp_path / "trail"), "--heads-from", heads]) == 1
    lines = capsys.readouterr().out.split("\n")
    assert "it is missing" in lines[0]
    assert all(line.isprintable() for line in lines)
