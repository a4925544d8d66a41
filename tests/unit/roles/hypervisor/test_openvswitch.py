# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of the role for bridges of Open vSwitch. The answers are those of Open vSwitch 3.1.

The molecule scenario hypervisor uses a real one.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.roles.hypervisor.files import openvswitch

MAC = "02:00:00:00:00:01"
OURS = ["map", [["virtaudit-role", "hypervisor"]]]
NONE: list[t.Any] = ["map", []]
Look = t.Callable[..., openvswitch.Switch]


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Look:
    """Return an object that looks at a host with bridges. Each bridge has a mark, and ports with marks."""

    def look(
        wanted: list[dict[str, t.Any]],
        there: dict[str, tuple[t.Any, dict[str, t.Any]]] | None = None,
        mtu: t.Any = None,
    ) -> openvswitch.Switch:
        has = there or {}
        config = ["map", [["hwaddr", MAC]]]
        ports = {p: m for _mark, given in has.values() for p, m in given.items()}
        answers: dict[str, tuple[list[str], list[list[t.Any]]]] = {
            "Bridge": (
                ["name", "external_ids", "other_config"],
                [[name, mark, config] for name, (mark, _ports) in has.items()],
            ),
            "Interface": (
                ["name", "mtu_request"],
                [[name, mtu or ["set", []]] for name in [*has, *ports]],
            ),
            "Port": (
                ["name", "external_ids"],
                [
                    [name, mark]
                    for name, mark in [*ports.items(), *((n, NONE) for n in has)]
                ],
            ),
        }

        def ask(*command: str) -> str:
            if command[0] == "list-ports":
                return "".join(f"{port}\n" for port in has[command[1]][1])
            headings, data = answers[command[-1]]
            return json.dumps({"headings": headings, "data": data})

        monkeypatch.setattr(openvswitch, "ask", ask)
        bridges = [{"type": "openvswitch", "mac": MAC, **bridge} for bridge in wanted]
        return openvswitch.Switch(bridges, there is not None)

    return look


def test_a_new_bridge(switch: Look) -> None:
    wanted = {"name": "ovs0", "mtu": 9000, "ports": ["p0"]}
    empty: dict[str, t.Any] = {}
    for there in (None, empty):
        found = switch([wanted, {"name": "br0", "type": "bridge"}], there)
        assert (found.problems(), found.removals()) == ([], [])
        assert found.commands() == [
            "ovs-vsctl --timeout=30 add-br ovs0"
            " -- set Bridge ovs0 external-ids:virtaudit-role=hypervisor"
            f""" -- set Bridge ovs0 other-config:hwaddr='"{MAC}"'"""
            " -- set Interface ovs0 mtu_request=9000"
            " -- add-port ovs0 p0"
            " -- set Port p0 external-ids:virtaudit-role=hypervisor"
        ]


def test_a_bridge_without_differences(switch: Look) -> None:
    wanted = [{"name": "ovs0", "mtu": 9000, "ports": ["p0"]}]
    ports = {"p0": OURS, "vt525400000001": NONE}
    found = switch(
        wanted, {"ovs0": (OURS, ports), "theirs": (NONE, {"p9": NONE})}, 9000
    )
    assert (found.problems(), found.removals(), found.commands()) == ([], [], [])


def test_the_differences_of_a_bridge(switch: Look) -> None:
    wanted = [{"name": "ovs0", "mac": "02:00:00:00:00:09", "ports": ["p1"]}]
    found = switch(wanted, {"ovs0": (OURS, {"p0": OURS}), "ovs1": (OURS, {"p1": OURS})})
    assert found.problems() == []
    assert found.removals() == [
        "ovs-vsctl del-br ovs1",
        "ovs-vsctl del-port ovs0 p0",
    ]
    assert found.commands() == [
        """ovs-vsctl --timeout=30 set Bridge ovs0 other-config:hwaddr='"02:00:00:00:00:09"'"""
        " -- add-port ovs0 p1 -- set Port p1 external-ids:virtaudit-role=hypervisor"
    ]


def test_a_bridge_that_the_host_cannot_have(switch: Look) -> None:
    (problem,) = switch([{"name": "ovs0"}], {"ovs0": (NONE, {})}).problems()
    assert "did not make" in problem
    has = {"theirs": (NONE, {"p0": NONE})}
    (problem,) = switch([{"name": "ovs0", "ports": ["p0"]}], has).problems()
    assert "p0 is a port of theirs" in problem
    has = {"ovs0": (OURS, {"vt525400000001": NONE})}
    (problem,) = switch([], has).problems()
    assert "vt525400000001 are ports of it" in problem


def test_a_host_without_it() -> None:
    assert openvswitch.unanswered(installs=True, wanted=True) == []
    assert openvswitch.unanswered(installs=False, wanted=False) == []
    (problem,) = openvswitch.unanswered(installs=False, wanted=True)
    assert "install it first" in problem


def test_a_switch_that_does_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = tmp_path / "conf.db"
    monkeypatch.setattr(openvswitch, "DATABASES", (database, tmp_path / "none"))
    assert not openvswitch.has_ours()
    database.write_text('{"Bridge":{"name":"theirs"}}')
    assert not openvswitch.has_ours()
    database.write_text('{"external_ids":["map",[["virtaudit-role","hypervisor"]]]}')
    assert openvswitch.has_ours()
