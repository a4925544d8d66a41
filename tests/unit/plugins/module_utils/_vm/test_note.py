# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import statedir
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_note,
    tun,
    vhost,
)

NOTE = a_note(
    pid=4711,
    start_time=99,
    unit="virtaudit-x.scope",
    busy=12.5,
    booting=True,
    interfaces={MAC: a_nic_note(pending=True, ifindex=7, devices=[tun(31), vhost(32)])},
)


@pytest.fixture(name="state")
def fixture_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VmState:
    monkeypatch.setattr(statedir, "BASE", str(tmp_path))
    (tmp_path / UUID).mkdir()
    return VmState(UUID)


def write(state: VmState, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    Path(state.path, "state.json").write_bytes(data)


def as_json() -> dict[str, t.Any]:
    return {"version": 1, **json.loads(json.dumps(dataclasses.asdict(NOTE)))}


UNREADABLE = [
    "",
    "{",
    "{}",
    '{"version": 1, "interfaces": {}}',
    json.dumps({**as_json(), "interfaces": {MAC: {"mac": MAC, "devices": []}}}),
    b"\xff\xfe",
    b"\0\0\0\0",
]


@pytest.mark.parametrize("content", UNREADABLE)
def test_unreadable(state: VmState, content: str | bytes) -> None:
    write(state, content)
    assert state.load() is None
    assert state.has_unreadable()
    state.set_aside(None)
    assert not state.has_unreadable()
    assert os.listdir(state.path) == ["state.json.unreadable"]


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "[]",
        '"x"',
        json.dumps({**as_json(), "interfaces": []}),
        json.dumps({**as_json(), "interfaces": {MAC: "x"}}),
        json.dumps({**as_json(), "interfaces": {MAC: {"devices": ["x"]}}}),
    ],
)
def test_json_that_is_no_note(state: VmState, content: str) -> None:
    write(state, content)
    assert state.load() is None
    assert state.has_unreadable()


def test_keys_of_a_newer_version_are_left_out(state: VmState) -> None:
    data = as_json()
    data.update({"version": 2, "colour": "red"})
    data["interfaces"][MAC]["speed"] = 10
    data["interfaces"][MAC]["devices"][0]["weight"] = 3
    write(state, json.dumps(data))
    assert state.load() == NOTE


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("unit", None),
        ("pid", None),
        ("start_time", None),
        ("busy", None),
        ("booting", False),
    ],
)
def test_missing_keys_take_their_defaults(
    state: VmState, key: str, default: object
) -> None:
    data = as_json()
    del data[key]
    write(state, json.dumps(data))
    changes: dict[str, t.Any] = {key: default}
    assert state.load() == dataclasses.replace(NOTE, **changes)


@pytest.mark.parametrize(
    ("key", "default"), [("pending", False), ("made", True), ("ifindex", None)]
)
def test_missing_keys_of_an_interface(
    state: VmState, key: str, default: object
) -> None:
    data = as_json()
    del data["interfaces"][MAC][key]
    write(state, json.dumps(data))
    loaded = state.load()
    assert loaded is not None
    changes: dict[str, t.Any] = {key: default}
    assert loaded.interfaces[MAC] == dataclasses.replace(
        NOTE.interfaces[MAC], **changes
    )


@pytest.mark.parametrize("key", ["interfaces", "devices"])
def test_missing_lists_take_their_defaults(state: VmState, key: str) -> None:
    data = as_json()
    del (data if key == "interfaces" else data["interfaces"][MAC])[key]
    write(state, json.dumps(data))
    assert state.load() is not None
