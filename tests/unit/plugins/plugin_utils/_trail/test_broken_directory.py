# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory in which one of the trail files is something else: the others are checked, continued and read."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.earlier import (
    Earlier,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.ledger import (
    parse_event,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.line import seal
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.reconciliation import (
    reconcile,
    table,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.verify import (
    verify,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import (
    a_log,
    an_event,
    an_item,
    write_trail,
)

NAME = "20261123T080001.500000Z-c1e2f3a4-0001-4000-8000-0000000000ff.jsonl"


def no_host(path: Path) -> None:
    """Return a line with a right hash that the callback has not written."""
    event = {"action": "open", "kind": "event", "sequence": 1}
    ours = {"run": {"id": "x"}, "previous": {"hash": "0" * 64}}
    path.write_bytes(seal({"virtaudit": ours, "event": event})[0])


def no_number(path: Path) -> None:
    """Write a run whose closing line counts in a number that no other number is."""
    previous: dict[str, t.Any] = {"hash": "0" * 64}
    lines = []
    for number, action in enumerate(("run_start", "run_end"), 1):
        event = {"action": action, "kind": "state", "sequence": number}
        ours = {
            "run": {"id": path.name[-42:-6]},
            "controller": {"user": "x"},
            "previous": previous,
            "summary": {"records": 0, "unwritten": float("inf")},
        }
        line, head = seal({"host": {"name": "x"}, "virtaudit": ours, "event": event})
        previous = {"hash": head}
        lines.append(line)
    path.write_bytes(b"".join(lines))


ODD: dict[str, t.Callable[[Path], object]] = {
    "a directory": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a socket": lambda path: os.mknod(path, 0o140600),
    "empty": lambda path: path.touch(),
    "zeros": lambda path: path.write_bytes(bytes(100000)),
    "newlines": lambda path: path.write_bytes(b"\n" * 1000),
    "one line without an end": lambda path: path.write_bytes(b"{" * 3000000),
    "deep": lambda path: path.write_bytes(b"[" * 100000 + b"\n"),
    "no host": no_host,
}


@pytest.fixture(name="directory", params=sorted(ODD))
def fixture_directory(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a directory whose second file is odd, and whose first and third are whole."""
    directory = tmp_path / "trail"
    write_trail(directory, 1)
    ODD[request.param](directory / NAME)
    write_trail(directory, 2)
    return directory


def test_the_others_are_checked(directory: Path) -> None:
    found = verify(str(directory))
    assert [each.status == 0 for each in found] == [True, False, True]
    assert NAME in found[1].text


def test_a_closing_line_without_a_number_of_lines(tmp_path: Path) -> None:
    write_trail(tmp_path, 1)
    no_number(tmp_path / NAME)
    assert [each.status for each in verify(str(tmp_path))] == [0, 1]


def test_the_others_are_read_back(directory: Path) -> None:
    earlier = Earlier.of(str(directory), "own")
    event = parse_event(an_event(1))
    assert event is not None
    assert earlier.has(b'"hv1"', event)
    earlier.close()


def test_the_others_are_compared_with_the_hosts(directory: Path) -> None:
    log = a_log(*(an_item(serial) for serial in range(3)))
    log["stats"]["first"] = None
    result = reconcile(str(directory), ["hv1"], lambda host: json.dumps(log))
    assert result["hosts"][0]["matched"] == 3
    assert result["not_in_files"] == result["not_on_host"] == []
    assert NAME in "\n".join(table(result))


def test_a_name_with_an_impossible_time_is_no_obstacle(tmp_path: Path) -> None:
    write_trail(tmp_path, 1)
    (tmp_path / NAME.replace("20261123", "00001399")).touch()
    log = a_log(*(an_item(serial) for serial in range(3)))
    log["stats"]["first"] = None
    result = reconcile(str(tmp_path), ["hv1"], lambda host: json.dumps(log))
    assert result["hosts"][0]["matched"] == 3


def leave_out_the_vm(line: t.Any) -> None:
    del line["virtaudit"]["vm"], line["virtaudit"]["mac"], line["user"]


def write_other_values(line: t.Any) -> None:
    line["virtaudit"].update(vm="web01", mac=["x"])
    line["user"] = 5


@pytest.mark.parametrize("change", [leave_out_the_vm, write_other_values])
def test_a_line_without_its_vm_is_named(
    tmp_path: Path, change: t.Callable[[t.Any], None]
) -> None:
    write_trail(tmp_path, 1, records=1)
    log = a_log()
    log["stats"]["first"] = "2026-01-01T00:00:00.000Z"
    (path,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    change(lines[1])
    head, sealed = lines[0]["virtaudit"]["previous"], []
    for line in lines:
        del line["event"]["hash"]
        line["virtaudit"]["previous"] = head
        data, digest = seal(line)
        head = {"hash": digest}
        sealed.append(data)
    path.write_bytes(b"".join(sealed))
    result = reconcile(str(tmp_path), ["hv1"], lambda host: json.dumps(log))
    assert result["not_on_host"][0]["vms"] == []
