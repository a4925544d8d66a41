# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No answer of a host spoils the report or the history of the others, and no host can speak for another."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    keep_answer,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.history import (
    find,
    lines,
    write_csv,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.report import (
    Request,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.write import (
    write_report,
)
from ansible_collections.virtaudit.qemu.tests.support.answers import (
    answer,
    make_grant,
    unrecorded,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.reports import NOW, Reports

Data = dict[str, t.Any]
Where = tuple[t.Any, ...]

ODD: list[t.Any] = [
    *(None, True, 5, -1, 10**400, 1e400, float("nan"), "", "x" * 5000),
    *("\ud800\0\u202e<b>", "9999-99-99T99:99:99.999Z", "9999-12-31T23:59:59.999Z"),
    *("0001-01-01T00:00:00.000Z", [], [5], [None], [{"x": 1}], {}, {"x": [{"y": 1}]}),
]


def whole() -> Data:
    """Return an answer that has an example of everything that an answer can have."""
    given = answer(1, 1, findings=1)
    given["stats"] |= {"first": "2026-01-01T00:00:00.000Z", "last": None}
    given["asked"] = {"since": None, "until": None}
    return given


def places(value: t.Any, at: Where = ()) -> t.Iterator[Where]:
    if isinstance(value, (dict, list)):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield (*at, key)
            yield from places(value[key], (*at, key))


def changed(given: Data, at: Where, value: t.Any) -> Data:
    given = copy.deepcopy(given)
    holder: t.Any = given
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = value
    return given


def no_number(text: str) -> t.NoReturn:
    raise AssertionError(f"{text} is no JSON")


def test_no_odd_value_spoils_the_report_or_the_history(
    reports: Reports, tmp_path: Path
) -> None:
    answers = {"good": answer(2, 1)}
    for at in places(whole()):
        for number, value in enumerate(ODD):
            host = f"{'.'.join(map(str, at))} {number}"
            answers[host] = changed(whole(), at, value)
    outcome = reports.write(answers)
    text = reports.page("audit_report.json")
    data = json.loads(text, parse_constant=no_number)
    told = [each["host"] for each in [*data["hosts"], *outcome.silent]]
    assert sorted(told) == sorted(answers)
    assert data["hosts"][0]["host"] == "good"
    found = find(reports.answers, list(answers), 0.0)
    assert lines(found)
    write_csv(str(tmp_path / "history.csv"), found.held)


@pytest.mark.parametrize("section", ["grants", "sessions", "history", "findings"])
def test_no_host_speaks_for_another(reports: Reports, section: str) -> None:
    given = whole()
    lie = {"host": "hv2", "hosts": ["hv2"], "id": "x", "known": 0, "new": True}
    given[section][0].update(lie)
    reports.write({"hv1": given})
    data = reports.data()
    assert {item["host"] for item in data[section]} == {"hv1"}
    assert "hosts" not in data[section][0]
    assert "hv2" not in reports.page()
    held = find(reports.answers, ["hv1"], None).held
    assert {each["host"] for each in held} == {"hv1"}


def test_enormous_and_odd_names_are_shown(reports: Reports) -> None:
    names = ["n" * 8000, "\u202egnp.\u202c", "日本語" * 500, "a b", "\x1b[31m"]
    given = {**answer(1, 0), "grants": [], "findings": [unrecorded(1, vm="m" * 8000)]}
    for number, name in enumerate(names):
        given["grants"].append(make_grant(1, number, vm=name, ticket=name))
    assert reports.write({"hv1": given}).grants == len(names)
    page = reports.page()
    assert all(name in page for name in names)
    # The second name reverses the text after it, but only within its own element.
    assert "b, code, a, .label { unicode-bidi: isolate; }" in page


def test_no_text_makes_a_row_of_its_own(reports: Reports, tmp_path: Path) -> None:
    name = "web01\rweb02"
    given = whole()
    for section in ("grants", "history", "findings"):
        given[section] = [{**given[section][0], "vm": name}]
    reports.write({"hv1": given})
    for file in ("grants.csv", "history.csv", "findings.csv"):
        assert [row["vm"] for row in reports.rows(file)] == [name]
        assert (reports.directory / file).read_bytes().count(b"\n") == 2
    write_csv(str(tmp_path / "it.csv"), find(reports.answers, ["hv1"], None).held)
    assert f'"{name}"'.encode() in (tmp_path / "it.csv").read_bytes()


def test_a_host_that_is_named_twice_is_read_once(reports: Reports) -> None:
    keep_answer(reports.answers, "hv1", answer(1, 1))
    hosts = ["hv1", "hv1"]
    outcome = write_report(Request(hosts, reports.answers, reports.directory, now=NOW))
    assert (outcome.grants, outcome.findings) == (1, 0)
