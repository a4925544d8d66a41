# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the table of audit_history says about times that an answer does not cover."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._time import parse_time
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.answers import (
    keep_answer,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._report.history import (
    find,
    lines,
)
from ansible_collections.virtaudit.qemu.tests.support.answers import answer
from ansible_collections.virtaudit.qemu.tests.unit.support.reports import Reports

FIRST, LAST = "2020-01-01T00:00:00.000Z", "2020-01-10T00:00:00.000Z"


def told(
    reports: Reports, since: str | None, until: str | None, own: bool
) -> list[str]:
    given: dict[str, t.Any] = answer(1, 1)
    given["stats"] |= {"first": FIRST, "last": LAST}
    given["asked"] = {"since": since, "until": until, "own_logs": own}
    keep_answer(reports.answers, "hv1", given)
    begin = None if since is None else parse_time("since", since)
    return lines(find(reports.answers, ["hv1"], begin))


@pytest.mark.parametrize(
    ("since", "until", "own", "note"),
    [
        ("2020-01-05", None, False, None),
        ("2020-01-05", LAST, False, None),
        ("2020-01-05", "2020-01-20T00:00:00.000Z", True, None),
        ("2019-12-31", None, False, "its logs begin at 2020-01-01 00:00:00"),
        ("2020-01-11", None, False, "its logs end at 2020-01-10 00:00:00"),
        (
            "2020-01-05",
            "2020-01-20T00:00:00.000Z",
            False,
            "its logs end at 2020-01-10 00:00:00",
        ),
        (
            None,
            "2020-01-20T00:00:00.000Z",
            False,
            "its logs begin at 2020-01-01 00:00:00 and end at 2020-01-10 00:00:00",
        ),
    ],
)
def test_a_host_whose_logs_do_not_have_all_of_the_time_is_named(
    reports: Reports, since: str | None, until: str | None, own: bool, note: str | None
) -> None:
    last = told(reports, since, until, own)[-1]
    assert last == f"hv1: {note}" if note else "hv1: " not in last


def test_a_time_that_is_over_says_nothing_about_now(reports: Reports) -> None:
    assert " held " in told(reports, "2020-01-05", None, True)[2]
    assert "held at 2020-01-08 00:00:00" in "\n".join(
        told(reports, "2020-01-05", "2020-01-08T00:00:00.000Z", True)
    )


# The host's midnight is 2020-01-05T00:00:00Z. The controller is five hours west or east of it.
@pytest.mark.parametrize(
    ("midnight", "first", "note"),
    [
        (
            "2020-01-05T05:00:00Z",
            "2020-01-05T02:00:00.000Z",
            "hv1: its logs begin at 2020-01-05 02:00:00",
        ),
        ("2020-01-04T19:00:00Z", "2020-01-04T22:00:00.000Z", None),
    ],
)
def test_the_time_begins_where_the_host_understood_it(
    reports: Reports, midnight: str, first: str, note: str | None
) -> None:
    given: dict[str, t.Any] = answer(1, 1)
    given["stats"] |= {"first": first, "last": LAST}
    given["asked"] = {"since": "2020-01-05T00:00:00.000Z", "own_logs": True}
    keep_answer(reports.answers, "hv1", given)
    begin = parse_time("since", midnight)
    last = lines(find(reports.answers, ["hv1"], begin))[-1]
    assert last == note if note else "hv1: " not in last
