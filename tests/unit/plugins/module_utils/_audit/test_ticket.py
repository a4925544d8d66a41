# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.ticket import (
    parse_ticket,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError


@pytest.mark.parametrize(
    "text", ["CHG-1", "a b\n\x1b'\"=", "x" * 256, "\u00fc" * 128, "?", " "]
)
def test_any_text_is_a_ticket(text: str) -> None:
    assert parse_ticket(text) == text


@pytest.mark.parametrize("text", [None, ""])
def test_no_ticket(text: str | None) -> None:
    assert parse_ticket(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x" * 257, "^ticket: the ticket has 257 bytes; at most 256"),
        ("\u00fc" * 129, "^ticket: the ticket has 258 bytes; at most 256"),
        ("a\0b", "^ticket: a ticket cannot hold a NUL byte"),
        ("a\udcff", "^ticket: .* is no text that UTF-8 can hold"),
    ],
)
def test_what_no_record_can_carry(text: str, problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        parse_ticket(text)
