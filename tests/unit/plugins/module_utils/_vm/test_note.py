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

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface_types import (
    KINDS,
)
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

SAYS = Messages(Vm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None))
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
def test_json_that_is_not_a_note(state: VmState, content: str) -> None:
    write(state, content)
    assert state.load() is None
    assert state.has_unreadable()


def with_nic(**changes: t.Any) -> str:
    data = as_json()
    data["interfaces"][MAC].update(changes)
    return json.dumps(data)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({**as_json(), "uuid": "c1e2f3a4-0001-4000-8000-000000000099"}),
        json.dumps({**as_json(), "pid": "4711"}),
        json.dumps({**as_json(), "pid": True}),
        json.dumps({**as_json(), "name": None}),
        json.dumps({**as_json(), "busy": "now"}),
        json.dumps({**as_json(), "booting": 1}),
        json.dumps({**as_json(), "boot_id": ["b"]}),
        with_nic(mac="52:54:00:00:00:99"),
        json.dumps(
            {
                **as_json(),
                "interfaces": {"x y": {**as_json()["interfaces"][MAC], "mac": "x y"}},
            }
        ),
        with_nic(phase="lost"),
        with_nic(phase=None),
        # A newer version may have more types of interfaces.
        with_nic(type="vhost-user"),
        with_nic(type=""),
        with_nic(ifname=7),
        with_nic(queues="1"),
        with_nic(devices=["x"]),
        with_nic(devices=5),
        with_nic(network={"vlan": 42}),
        with_nic(updating={"source": ["br0"]}),
        with_nic(updating="br0"),
        with_nic(observed={"mtu": 1500}),
        with_nic(observed="br0"),
        with_nic(devices=[{**dataclasses.asdict(tun(31)), "fd": "31"}]),
        with_nic(devices={"fd": 31}),
    ],
)
def test_a_note_with_wrong_values_is_not_used(state: VmState, content: str) -> None:
    write(state, content)
    assert state.load() is None
    assert state.has_unreadable()


@pytest.mark.parametrize("kind", KINDS)
def test_a_note_with_each_type_of_interface_is_used(state: VmState, kind: str) -> None:
    write(state, with_nic(type=kind))
    note = state.load()
    assert note is not None
    assert note.interfaces[MAC].type == kind


def test_an_update_whose_record_did_not_land_is_under_way_again() -> None:
    nic = a_nic_note(network=Network("br1", vlan="42", link="down"), source="br1")
    note = a_note(interfaces={MAC: nic})
    for record in SAYS.net_updates(
        MAC, "vt525400000001", Network("br0", vlan="7"), nic.network, True
    ):
        note.unrecord("1.000:1", record.fields)
    assert note.is_unfinished
    assert nic.link.network == Network("br0", vlan="7")
    assert nic.updating == Network("br1", vlan="42", link="down")
    nic.put_on(nic.updating)
    failed = SAYS.net_updates(MAC, "x", Network("br0"), Network("br1"), False)
    note.unrecord("1.000:2", failed[0].fields)
    assert note.interfaces[MAC].updating is None


def test_the_network_before_an_update(state: VmState) -> None:
    nic = a_nic_note(network=Network(link="down"))
    before, after = Network("br7", mtu="1500"), Network("br1", mtu="1400")
    nic.begin_update(before, after)
    state.save(a_note(interfaces={MAC: nic}))
    loaded = state.load()
    assert loaded is not None
    assert loaded.interfaces[MAC] == nic
    assert nic.before_update == before
    # This is the noted network, with the MTU that the kernel showed, because nobody noted one.
    assert nic.former == Network("br0", link="down", mtu="1500")
    nic.end_update()
    assert nic.former == nic.before_update == Network("br0", link="down")
    # This is the note of an older version.
    nic.updating = after
    assert nic.former == nic.before_update == Network("br0", link="down")


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
