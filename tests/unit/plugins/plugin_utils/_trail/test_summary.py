# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.printable import (
    printable,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.records import (
    Finding,
    read_findings,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.summary import (
    Summary,
    columns_of,
    wrapped,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import (
    EXAMPLE,
    a_finding,
    a_record,
)

MAC = str(EXAMPLE["net"])


def granted(serial: int, reason: str = "attach", **fields: str) -> list[t.Any]:
    """Return the records of one hand-over."""
    handed = {"net": None, "path": None, "dev": None, "old-net": None, "new-net": MAC}
    return [
        a_record(serial),
        a_record(serial + 1, **{**handed, "reason": reason, "fds": "31,32", **fields}),
    ]


def found(code: str, severity: str) -> Finding:
    (finding,), _malformed = read_findings(
        {"findings": [a_finding(code, severity=severity)]}
    )
    return finding


def lost(host: str) -> dict[str, t.Any]:
    """Return the counts of a host."""
    events = ["1.000:1", "1.000:2"]
    return {"name": host, "missing": 2, "sent": 9, "missing_events": events}


@pytest.fixture(name="summary")
def fixture_summary() -> Summary:
    summary = Summary(4)
    summary.add_records("hv1.example.org", granted(1))
    summary.add_records(
        "hv2.example.org", granted(3, vm="a-rather-long-name-of-a-vm", res="failed")
    )
    summary.add_records("hv2.example.org", [a_record(5, res="failed")])
    return summary


def test_at_200_columns_a_row_is_a_line(summary: Summary) -> None:
    lines = summary.table(200)
    assert lines == summary.table(None)
    assert [style for _text, style in lines] == ["plain", "bad", "bad", "plain"]
    words = [text.split() for text, _style in lines]
    assert words[0] == ["HOST", "VM", "MAC", "DEVICE", "ACTION", "RESULT", "EVENT"]
    assert words[1] == [
        "hv2.example.org",
        "a-rather-long-name-of-a-vm",
        MAC,
        "vt525400000001",
        "attach",
        "failed",
        "1795420505.004:4",
    ]
    assert words[2][3:] == ["/dev/net/tun", "open", "failed", "1795420505.005:5"]
    assert words[3][4:] == ["attach", "success", "1795420505.002:2"]
    # Each column starts below the same column of the row above.
    assert len({text.find(MAC) for text, _style in lines[1:]}) == 1


def test_at_80_columns_a_row_is_two_lines(summary: Summary) -> None:
    lines = [text for text, _style in summary.table(80)]
    assert len(lines) == 8
    assert max(map(columns_of, lines)) <= 80
    assert lines[2].split() == ["hv2.example.org", "a-rather-long-name-of-a-vm", MAC]
    assert lines[3].split() == [
        "attach",
        "failed",
        "vt525400000001",
        "1795420505.004:4",
    ]


@pytest.fixture(name="moved")
def fixture_moved() -> Summary:
    summary = Summary(9)
    network = {"source": "br0", "vlan": "42", "filter": "address", "ticket": "CHG-1"}
    summary.add_records("hv1", granted(1, **network))
    changed = {"old-vlan": "42", "new-vlan": None, "ticket": "INC 2 " + "x" * 250}
    summary.add_records("hv1", [a_record(3, reason="update", path=None, **changed)])
    failed = {"res": "failed", "path": None, "source": "br0"}
    summary.add_records("hv1", [a_record(4, reason="prepare", **failed)])
    summary.add_records("hv1", [a_record(5, reason="prepare", source="br0")])
    return summary


def test_networks_and_tickets_have_columns_where_there_are_some(moved: Summary) -> None:
    header, failed, attached, updated = (text for text, _style in moved.table(None))
    assert header.split() == [
        *("HOST", "VM", "MAC", "DEVICE", "NETWORK", "ACTION", "RESULT", "EVENT"),
        "TICKET",
    ]
    network, ticket = header.index("NETWORK"), header.index("TICKET")
    assert failed[network:].split() == ["br0", "prepare", "failed", "1795420505.004:4"]
    assert attached[network:].startswith("br0 vlan=42 filter=address  attach ")
    assert attached[ticket:] == "CHG-1"
    assert updated[network:].startswith("vlan: 42 -> none            update ")
    # The trail has the whole network.
    assert updated[ticket:] == "INC 2 " + "x" * 25 + "\u2026"


def test_a_network_with_many_addresses_is_cut() -> None:
    summary = Summary(1)
    changed = {"old-addresses": None, "new-addresses": "192.0.2.7," * 200}
    summary.add_records("hv1", [a_record(3, reason="update", path=None, **changed)])
    _header, row = (text for text, _style in summary.table(None))
    assert "  addresses: none -> 192.0.2.7,192" in row
    assert columns_of(row) < 160


def test_at_80_columns_they_have_a_line_below(moved: Summary) -> None:
    lines = [text for text, _style in moved.table(80)]
    assert len(lines) == 12
    assert max(map(columns_of, lines)) <= 80
    assert lines[2].split() == ["NETWORK", "TICKET"]
    assert lines[5].split() == ["br0"]
    assert lines[8] == "  br0 vlan=42 filter=address  CHG-1"
    assert lines[11].startswith("  vlan: 42 -> none  INC 2 x")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_names_are_cut_before_the_mac(width: int) -> None:
    summary = Summary(2)
    device = "/dev/" + "d" * 80
    records = granted(1, vm="漢" * 50, path=device)
    summary.add_records("h" * 40 + ".example.org", records)
    lines = [text for text, _style in summary.table(width)][2:]
    assert max(map(columns_of, lines)) <= width
    assert lines[0].endswith(f"…  {MAC}")
    assert lines[1].split()[:2] == ["attach", "success"]
    assert lines[1].endswith("…  1795420505.002:2")
    # As long as there is room, the remaining text shows which is which.
    assert lines[0].startswith("hhhh" if width < 80 else "h" * 40)


def test_at_20_columns_nothing_is_wider(summary: Summary) -> None:
    assert max(columns_of(text) for text, _style in summary.table(20)) <= 20


def test_rows_that_are_too_many_are_counted() -> None:
    summary = Summary(3)
    for number in range(5):
        summary.add_records("hv1", granted(2 * number))
    summary.add_records("hv1", granted(100, res="failed"))
    lines = summary.table(None)
    assert len(lines) == 1 + 3 + 1
    assert lines[1][1] == "bad"
    assert lines[-1][0] == "... and 3 more, all in the trail"


def test_without_a_row_there_is_no_table() -> None:
    summary = Summary(0)
    summary.add_records("hv1", [a_record(1)])
    assert summary.table(80) == []


def test_findings_and_missing_records() -> None:
    summary = Summary(1)
    for code, severity in (
        ("failed_open", "low"),
        ("stale_grant", "medium"),
        ("unrecorded_fd", "high"),
    ):
        summary.add_finding("hv1", found(code, severity))
    summary.add_gap("hv2", "Attach", "unreachable")
    summary.add_missing(lost("hv3"))
    # The worst finding comes first.
    assert summary.problems() == [
        (
            "hv3: 2 of 9 records that were sent are not in its log: 1.000:1, 1.000:2",
            "bad",
        ),
        ("hv1: unrecorded_fd: about unrecorded_fd", "bad"),
        ("hv2: Attach: unreachable", "bad"),
        ("hv1: stale_grant: about stale_grant", "bad"),
        ("hv1: failed_open: about failed_open", "warn"),
    ]


def test_old_harmless_findings_hide_nothing() -> None:
    summary = Summary(1)
    for _each in range(60):
        summary.add_finding("hv1", found("failed_open", "low"))
    for _each in range(60):
        summary.add_finding("hv1", found("stale_grant", "medium"))
    summary.add_finding("hv2", found("unrecorded_fd", "high"))
    summary.add_missing(lost("hv3"))
    said = [text for text, _style in summary.problems()]
    assert [text[:4] for text in said[:3]] == ["hv3:", "hv2:", "hv1:"]
    assert said[50:] == ["... and 72 more, all in the trail"]


def test_each_host_that_lost_records_is_named() -> None:
    summary = Summary(1)
    for number in range(60):
        summary.add_missing(lost(f"hv{number}"))
    summary.add_gap("hv", "Attach", "unreachable")
    said = [text.partition(":")[0] for text, _style in summary.problems()]
    assert said == [
        *(f"hv{number}" for number in range(60)),
        "... and 1 more, all in the trail",
    ]


def test_many_findings_do_not_flood_the_terminal() -> None:
    summary = Summary(1)
    for number in range(1000):
        summary.add_gap(f"hv{number}", "Attach", "unreachable")
    assert len(summary.problems()) == 51
    assert summary.problems()[-1][0] == "... and 950 more, all in the trail"


def test_no_name_can_command_the_terminal() -> None:
    summary = Summary(1)
    summary.add_records("hv1", granted(1, vm="\x1b[2J\nrows\u202e\udcff"))
    text = summary.table(None)[1][0]
    assert text.isprintable()
    assert r"\x1b[2J\nrows\u202e\udcff" in text
    assert printable("naïve 漢字") == "naïve 漢字"


def test_wide_characters_take_two_columns() -> None:
    summary = Summary(2)
    summary.add_records("hv1", granted(1, vm="漢字"))
    summary.add_records("hv1", granted(1, vm="abcd"))
    _header, wide, narrow = (text for text, _style in summary.table(None))
    assert columns_of(wide.partition(MAC)[0]) == columns_of(narrow.partition(MAC)[0])


def test_long_findings_are_wrapped_between_words() -> None:
    path = "/srv/audit/" + "x" * 100
    lines = wrapped([("one two " * 20, "bad"), (path, "plain")], 80)
    assert all(len(text) < 80 for text, style in lines if style == "bad")
    assert [text[:2] for text, _style in lines] == ["on", "  ", "  ", "/s"]
    wide = wrapped([("漢字 " * 30, "bad")], 80)
    assert max(columns_of(text) for text, _style in wide) in range(70, 80)
    # People copy this line.
    assert lines[-1] == (path, "plain")
    assert wrapped([("one " * 50, "bad")], None) == [("one " * 50, "bad")]
