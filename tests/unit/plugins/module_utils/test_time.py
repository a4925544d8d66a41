# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._time import (
    iso,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1795420505.783", 1795420505.783),
        (" 0 ", 0.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10.500+01:00", 10.5),
        ("1970-01-01 00:00:10+00:00", 10.0),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_time("since", text) == seconds


def test_without_an_offset_it_is_the_hosts_time() -> None:
    hours = parse_time("since", "2026-01-31") - parse_time("since", "2026-01-31T00:00Z")
    assert abs(hours) <= 14 * 3600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "-5",
        "1e9",
        "2026-13-01",
        "2026-01-31T25:00",
        "9" * 30,
        # In UTC, another year than there is.
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(
        OptionError, match=r"^until: .* is not a time; write it as 2026-01-31"
    ):
        parse_time("until", text)


def test_iso() -> None:
    assert iso(1795420505.783) == "2026-11-23T07:55:05.783Z"
