# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time line of the report: each network that a NIC was on has its bar."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.virtaudit.qemu.plugins.module_utils._time import iso
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answer import (
    read_answer,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.timeline import (
    Bar,
    anchors_of,
    clock,
    rows_of,
    scale_of,
)
from ansible_collections.virtaudit.qemu.tests.support.answers import BEGAN, answer

NOW = iso(BEGAN + 1000)


def bars_of(given: dict[str, t.Any]) -> list[Bar]:
    read = read_answer(json.dumps(given))
    row, *_others = rows_of(read, anchors_of(read, "h0"), scale_of(read, NOW), "")
    return row.bars


def moved() -> dict[str, t.Any]:
    """Return an answer about a VM whose NIC was moved, put into quarantine, and brought back."""
    given = answer(0, 1)
    now = given["history"][1]
    given["history"] = [
        {
            **now,
            "network": {**now["network"], **network},
            "since": iso(BEGAN + begin),
            "until": None if end is None else iso(BEGAN + end),
            "ticket": ticket,
        }
        for begin, end, network, ticket in (
            (0, 250, {}, "CHG-1"),
            (250, 500, {"vlan": "99"}, "CHG-2"),
            (500, 750, {"vlan": "99", "link": "down"}, "INC-3"),
            (750, None, {}, None),
        )
    ]
    given["sessions"] = given["sessions"][1:]
    return given


def test_each_network_has_a_bar_with_its_ticket() -> None:
    bars = [each for each in bars_of(moved()) if each.kind == "nic"]

    assert [(each.left, each.width) for each in bars] == [
        ("0.00", "25.00"),
        ("25.00", "25.00"),
        ("50.00", "25.00"),
        ("75.00", "25.00"),
    ]
    assert {each.label for each in bars} == {"52:54:00:00:00:00"}
    assert " on br0, vlan 2, filter address: " in bars[0].text
    assert bars[1].text.endswith(", ticket CHG-2")
    assert " on br0, vlan 99, filter address, link down: " in bars[2].text
    assert bars[2].text.endswith(", ticket INC-3")
    assert bars[3].text.endswith(" until now")
    assert " on br0, vlan 2, filter address: " in bars[3].text


def test_a_report_on_the_past_says_nothing_about_now() -> None:
    until = iso(BEGAN + 900)
    given = {**moved(), "asked": {"until": until}}
    bars = [each for each in bars_of(given) if each.kind == "nic"]
    assert bars[3].text.endswith(f" and still then, at {clock(until)}")
    given["asked"]["until"] = iso(BEGAN + 9000)
    bars = [each for each in bars_of(given) if each.kind == "nic"]
    assert bars[3].text.endswith(" until now")


def test_without_a_history_the_bars_are_those_of_the_runs() -> None:
    given = moved()
    del given["history"]

    bars = [each for each in bars_of(given) if each.kind == "nic"]

    assert [each.left for each in bars] == ["0.00"]
    assert "start" in bars[0].text
