# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import (
    MAX_TEXT_BYTES,
    MESSAGE_TYPES,
    Record,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import RecordError
from ansible_collections.virtaudit.qemu.tests.unit.support.reference import (
    libvirt_records,
)

# field, decoded value, text
FIELDS = [
    ("vm", "web01", 'vm="web01"'),
    ("vm", "a,b;c%d&(x)", 'vm="a,b;c%d&(x)"'),
    ("vm", "", 'vm=""'),
    ("vm", "my vm", "vm=6D7920766D"),
    ("vm", 'a"b', "vm=612262"),
    ("vm", "a'b", "vm=612762"),
    ("vm", "a=b", "vm=613D62"),
    ("vm", "a\nb", "vm=610A62"),
    ("vm", "a\tb", "vm=610962"),
    ("vm", "a\x1db", "vm=611D62"),
    ("vm", "a\x7fb", "vm=617F62"),
    ("vm", "b\u00fc", "vm=62C3BC"),
    ("vm", "\u4e2d", "vm=E4B8AD"),
    ("vm", "\U0001f600", "vm=F09F9880"),
    ("vm", "\udcff", "vm=FF"),
    ("vm", "DEADBEEF", 'vm="DEADBEEF"'),
    ("vm", "?", "vm=3F"),
    ("vm", None, "vm=?"),
    ("path", "/dev/net/tun", 'path="/dev/net/tun"'),
    ("path", "/dev/my tap", "path=2F6465762F6D7920746170"),
    ("path", None, "path=?"),
    ("dev", None, "dev=?"),
    ("exe", "/usr/bin/py (deleted)", "exe=2F7573722F62696E2F7079202864656C6574656429"),
    ("old-net", None, 'old-net="?"'),
    ("new-net", None, 'new-net="?"'),
    ("new-net", "52:54:00:00:00:01", 'new-net="52:54:00:00:00:01"'),
    ("net", "52:54:00:00:00:01", "net=52:54:00:00:00:01"),
    ("rdev", "0A:C8", "rdev=0A:C8"),
    ("rdev", None, "rdev=?"),
    ("fds", "31,32", "fds=31,32"),
    ("vm-ctx", "+64055:+64055", "vm-ctx=+64055:+64055"),
    ("hostname", None, "hostname=?"),
]


@pytest.mark.parametrize(("key", "value", "text"), FIELDS)
def test_field(key: str, value: str | None, text: str) -> None:
    assert Record("VIRT_RESOURCE", {key: value}).text() == text
    assert Record.parse("VIRT_RESOURCE", text).fields == {key: value}


@pytest.mark.parametrize(
    "value",
    ["", "?", "Web Servers", "x res=success", "CAFE", 'a"b', "a\nb", "b\u00fc", None],
)
@pytest.mark.parametrize(
    "name", sorted({field.name for field in dataclasses.fields(Network)} - {"hwaddr"})
)
def test_an_update_can_have_any_text(name: str, value: str | None) -> None:
    """Each value of a network can come from outside, except the MAC of the link."""
    for change in (
        *Network().changes(Network(**{name: value})),
        *Network(**{name: value}).changes(Network()),
    ):
        text = Record("VIRT_RESOURCE", {**change, "res": "failed"}).text()
        found = Record.parse("VIRT_RESOURCE", text).fields
        assert found == {**change, "res": "failed"}


def test_fields_keep_their_order() -> None:
    fields = {"res": "success", "vm": "b", "uuid": "u", "exe": "/x"}
    text = Record("VIRT_RESOURCE", fields).text()
    assert text == 'res=success vm="b" uuid=u exe="/x"'
    assert list(Record.parse("VIRT_RESOURCE", text).fields) == list(fields)


@pytest.mark.parametrize("key", ["uuid", "net", "rdev", "res", "virt", "fds", "addr"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "?",
        "a b",
        "a'b",
        'a"b',
        "a=b",
        "a\nb",
        "a\0b",
        "a\x7f",
        "\u00e9",
        "\udcff",
        "\u0661",
    ],
)
def test_raw_field_refuses(key: str, value: str) -> None:
    with pytest.raises(RecordError, match=rf"field {key} cannot hold"):
        Record("VIRT_RESOURCE", {key: value}).text()


def test_longest_text() -> None:
    room = MAX_TEXT_BYTES - len('vm=""')
    record = Record("VIRT_CONTROL", {"vm": "x" * room})
    assert len(record.text()) == MAX_TEXT_BYTES


@pytest.mark.parametrize(
    "name",
    ["x" * (MAX_TEXT_BYTES - len('vm=""') + 1), " " * (MAX_TEXT_BYTES // 2)],
    ids=["quoted", "hex"],
)
def test_longer_text_is_refused(name: str) -> None:
    with pytest.raises(RecordError, match="too long: the kernel would cut it"):
        Record("VIRT_CONTROL", {"vm": name}).text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("   ", "no field at byte 0"),
        ("hello", "no field at byte 0"),
        ("=a", "no field at byte 0"),
        ("1a=b", "no field at byte 0"),
        ('vm="web', "no field at byte 0"),
        ('vm="web"x uuid=u', "no field at byte 0"),
        ('uuid=a"b', "no field at byte 0"),
        ("a=b ,c=d", "no field at byte 4"),
        ("a=b c", "no field at byte 4"),
        ("uuid=a uuid=b", "field uuid twice"),
        ('vm="a" uuid=b vm="a"', "field vm twice"),
        ("vm=61 vm=?", "field vm twice"),
    ],
)
def test_parse_refuses(text: str, problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        Record.parse("VIRT_RESOURCE", text)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('a=b   vm="c d"\tuuid=e ', {"a": "b", "vm": "c d", "uuid": "e"}),
        ("vm=abcd", {"vm": "abcd"}),
        ("vm=ABC", {"vm": "ABC"}),
        ("vm=C3BC", {"vm": "\u00fc"}),
        ("uuid=C3BC", {"uuid": "C3BC"}),
        ('vm="C3BC"', {"vm": "C3BC"}),
        ("a= b=c", {"a": "", "b": "c"}),
        ("old-net=?", {"old-net": None}),
        ('old-net="?"', {"old-net": None}),
    ],
)
def test_parse(text: str, fields: dict[str, str | None]) -> None:
    assert Record.parse("VIRT_RESOURCE", text).fields == fields


def test_libvirts_log_is_whole() -> None:
    assert len(libvirt_records()) == 26
    assert {kind for kind, _text in libvirt_records()} == set(MESSAGE_TYPES)


@pytest.mark.parametrize(("record_type", "text"), libvirt_records())
def test_libvirts_record_comes_back_byte_for_byte(record_type: str, text: str) -> None:
    record = Record.parse(record_type, text)
    assert record.type == record_type
    assert record.fields["vm"] == "db01"
    assert record.text() == text
