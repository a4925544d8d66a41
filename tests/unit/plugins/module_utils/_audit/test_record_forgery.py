# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No text from outside breaks or forges a record. Readers without the collection's code check that."""

from __future__ import annotations

import os

from hypothesis import example, given

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import (
    ENCODED_FIELDS,
    Record,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.reference import keys_of
from ansible_collections.virtaudit.qemu.tests.unit.support.strategies import (
    outside_text,
)

UUID = "c1e2f3a4-0001-4000-8000-000000000011"
KEYS = ["virt", "vm", "uuid", "path", "dev", "old-net", "new-net", "exe", "res"]


def a_record(vm: str, path: str, dev: str, exe: str, net: str) -> Record:
    return Record(
        "VIRT_RESOURCE",
        {
            "virt": "kvm",
            "vm": vm,
            "uuid": UUID,
            "path": path,
            "dev": dev,
            "old-net": None,
            "new-net": net,
            "exe": exe,
            "res": "failed",
        },
    )


def first(line: str, key: str) -> str:
    """Read a field like ausearch: strstr() for the key, and then up to the next blank or quote."""
    value = line[line.index(key + "=") + len(key) + 1 :]
    for end in (" ", "'"):
        value = value.partition(end)[0]
    return value


def decode(value: str) -> bytes:
    return value[1:-1].encode("ascii") if value[:1] == '"' else bytes.fromhex(value)


@given(outside_text, outside_text, outside_text, outside_text, outside_text)
@example("x uuid=forged", "' res=success", '"', "\n", "?")
@example("x,uuid=forged", "res=success", "vm=y", "a\x1db", "\u00e9")
def test_a_naive_reader_is_not_fooled(
    vm: str, path: str, dev: str, exe: str, net: str
) -> None:
    text = a_record(vm, path, dev, exe, net).text()
    assert all(" " <= char <= "~" for char in text)
    line = (
        f"type=VIRT_RESOURCE msg=audit(1.2:3): pid=1 uid=0 msg='{text}'\x1dUID=\"root\""
    )
    # auditd and the kernel put the text between single quotes, and there must be no others.
    assert line.split("'")[1] == text
    assert line.count("'") == 2
    assert keys_of(text) == KEYS
    assert text.count("=") == len(KEYS)
    assert first(line, " uuid") == first(line, "uuid") == UUID
    assert first(line, "res") == "failed"
    assert decode(first(line, "vm")) == os.fsencode(vm)
    assert decode(first(line, "path")) == os.fsencode(path)


@given(outside_text, outside_text, outside_text, outside_text, outside_text)
def test_every_byte_comes_back(
    vm: str, path: str, dev: str, exe: str, net: str
) -> None:
    record = a_record(vm, path, dev, exe, net)
    back = Record.parse(record.type, record.text())
    assert list(back.fields) == KEYS
    # The test compares bytes, because lone bytes that happen to form a character come back as that
    # character.
    assert {key: _bytes(value) for key, value in back.fields.items()} == {
        key: _bytes(value) for key, value in record.fields.items()
    }
    assert back.text() == record.text()


@given(outside_text)
def test_every_encoded_field_is_quoted_or_upper_case_hex(value: str) -> None:
    for key in ENCODED_FIELDS:
        name, _equals, text = (
            Record("VIRT_RESOURCE", {key: value}).text().partition("=")
        )
        assert name == key
        assert text != "?"
        if not (text[0] == text[-1] == '"' and len(text) >= 2):
            assert text
            assert set(text) <= set("0123456789ABCDEF")
            assert bytes.fromhex(text) == os.fsencode(value)


@given(outside_text)
@example("CHG-1 uuid=forged")
@example("CHG-1' res=success")
def test_no_ticket_forges_a_field(ticket: str) -> None:
    text = a_record("web01", "/dev/net/tun", "vt1", "/x", "a").of_task(ticket).text()
    assert keys_of(text) == [*KEYS[:-2], "ticket", *KEYS[-2:]]
    assert text.count("=") == len(KEYS) + 1
    assert "'" not in text
    assert first(text, "uuid") == UUID
    assert first(text, "res") == "failed"
    assert decode(first(text, "ticket")) == os.fsencode(ticket)


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)
