# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines with values whose kind, size or form no program writes.

The module reports such a line as unread, or reads the part of it that is valid. The line must not prevent the answer
about all other lines.
"""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import lines as log
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.clock import Clock
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.scan import Line
from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._log.test_fuzz import (
    KERNEL,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import line_of
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

RECORD = line_of(Story().booted().items[0]).partition("\x1d")[0]
BODY = RECORD.partition("): ")[2]
VALUES = [
    *("1e999", "-1e999", "NaN", "1e308", "true", "null", "[]", "{}", "[1e999]"),
    *('"-5"', '"\\u0661"', '"\\ud800"', "9" * 400, "9" * 5000, f'"{"9" * 5000}"'),
]
FIELDS = [
    *("__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP", "_AUDIT_ID", "_UID"),
    *("_TRANSPORT", "_HOSTNAME", "SYSLOG_IDENTIFIER", "MESSAGE", "ID", "VIRT_CONTROL"),
]
STAMPS = [
    *("Feb 30 10:00:00", "Foo 12 10:00:00", "0001-01-01T00:00:00", "25:61:61"),
    *("9999-12-31T23:59:59", "9999-12-31 23:59:59-14:00", "0000-00-00 10:00:00"),
    *("2024-01-01 00:00:00+99:99", "99999999999.999999"),
]


def read(text: str, before: str = "") -> log.Read:
    line = Line(text.encode("utf-8", "surrogateescape"), before.encode())
    return log.read_line(line, Clock(1795450200.0))


def quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', '\\"'))


def entry(**changes: str) -> dict[str, str]:
    """Return the fields of a journal's entry, each as JSON."""
    fields = {"MESSAGE": quoted(f"VIRT_CONTROL {BODY}")}
    return {**fields, "__REALTIME_TIMESTAMP": '"1795450200000000"', **changes}


def as_object(fields: t.Mapping[str, str]) -> str:
    inner = ",".join(f'"{name}":{value}' for name, value in fields.items())
    return f"{{{inner}}}"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("message", [RECORD, f"VIRT_CONTROL {BODY}"])
def test_values_of_an_entry(field: str, value: str, message: str) -> None:
    fields = entry(**{"MESSAGE": quoted(message), field: value})
    found = read(as_object(fields))
    assert found.items or found.problem or field in ("_TRANSPORT", "MESSAGE")
    lines = "".join(f"{name}={each.strip(chr(34))}\n" for name, each in fields.items())
    read(f"MESSAGE={message}", lines)


@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN"])
@pytest.mark.parametrize("field", ["__REALTIME_TIMESTAMP", "_AUDIT_ID"])
def test_a_number_that_is_none_is_reported(field: str, value: str) -> None:
    assert read(as_object(entry())).items
    found = read(as_object(entry(**{field: value})))
    assert not found.items
    assert found.problem == "the record in the journal's entry is broken"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_an_entry_of_great_depth(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    for depth in (*range(100, 1100, 7), 100_000):
        deep = opening * depth + "1" + closing * depth
        found = read(as_object(entry(x=deep)))
        assert found.items or found.problem


@pytest.mark.parametrize("stamp", STAMPS)
@pytest.mark.parametrize("kind", ["VIRT_CONTROL", "SYSTEM_BOOT"])
def test_times_that_are_none(stamp: str, kind: str) -> None:
    read(f"{stamp} hv1 audit[1]: {kind} {BODY}")


@pytest.mark.parametrize(
    "text",
    [
        f' "{RECORD[:-1]}{"x" * 140_000}\'"',
        f' "{RECORD}\0""',
        f' "{RECORD}\r""',
        RECORD.replace('"', "&quot;") + f"&#{'9' * 5000};",
        RECORD.replace('"', "&quot;") + f"&#x{'F' * 5000};",
    ],
)
def test_quoted_and_escaped_texts(text: str) -> None:
    found = read(text)
    assert not found.items
    assert found.problem


def test_a_quoted_line_may_be_long() -> None:
    padded = RECORD.replace('exe="', 'ticket="{}" exe="'.format("x" * 140_000))
    text = '"{}","2024"'.format(padded.replace('"', '""'))
    assert len(read(text).items) == 1


@pytest.mark.parametrize(
    ("old", "new"), [("a1=", "a1=zz"), (" a2=", " a2=__"), ("pid=", "pid=" + "9" * 30)]
)
def test_values_of_the_kernels_records(old: str, new: str) -> None:
    call, path = (line.decode() for line in KERNEL[:2])
    read(path, call.replace(old, new))
    read(call.replace(old, new))
