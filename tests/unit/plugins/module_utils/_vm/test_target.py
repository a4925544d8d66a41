# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from hypothesis import given

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import target
from ansible_collections.virtaudit.qemu.tests.unit.support.strategies import (
    outside_text,
)

UUID = "c1e2f3a4-0001-4000-8000-000000000011"
OTHER = "c1e2f3a4-0001-4000-8000-000000000012"
MACHINE = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "name", ["web01", "a b", "a'b\"c,d=e\n", "\u00e9" * 127, "x" * 255, "?"]
)
def test_name(name: str) -> None:
    assert target.parse_name(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "a VM needs a name"),
        ("a\0b", "cannot hold a NUL byte"),
        ("x" * 256, "has 256 bytes; at most 255"),
        ("\u00e9" * 128, "has 256 bytes; at most 255"),
    ],
)
def test_refused_name(name: str, words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        target.parse_name(name)
    assert caught.value.option == "name"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 is not a positive number of seconds"),
        (-1, "-1 is not a positive number of seconds"),
        (float("nan"), "nan is not a positive number of seconds"),
        (float("inf"), "inf is not a positive number of seconds"),
        (86400.1, "86400.1 seconds are more than a day"),
        (1e10, "1e\\+10 seconds are more than a day"),
        (1, None),
        (86400, None),
    ],
)
def test_timeout(seconds: float, words: str | None) -> None:
    params = {
        "name": "web01",
        "uuid": UUID,
        "qmp_socket": None,
        "audit": "off",
        "timeout": seconds,
    }
    if words is None:
        assert target.Target.of(params).timeout == seconds
        return
    with pytest.raises(OptionError, match=f"^timeout: {words}"):
        target.Target.of(params)


def test_a_path_that_has_no_bytes_is_refused() -> None:
    params = {"name": "web01", "uuid": UUID, "audit": "off", "timeout": 1}
    target.Target.of({**params, "qmp_socket": "/run/\udcff.sock"})
    words = "^qmp_socket: .* is not a text that UTF-8 can encode"
    with pytest.raises(OptionError, match=words):
        target.Target.of({**params, "qmp_socket": "/run/\ud800.sock"})


@pytest.mark.parametrize("code", [0xD800, 0xDCFF])
def test_a_name_that_has_no_bytes_is_refused(code: int) -> None:
    with pytest.raises(OptionError, match="not a text that UTF-8 can encode"):
        target.parse_name(chr(code))


@pytest.mark.parametrize(
    "text",
    [UUID, UUID.upper(), UUID.replace("-", ""), "{" + UUID + "}", f"urn:uuid:{UUID}"],
)
def test_uuid(text: str) -> None:
    assert target.parse_uuid(text) == UUID


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is not a UUID"),
        ("web01", "'web01' is not a UUID"),
        (UUID[:-1], "is not a UUID"),
        (UUID + "0", "is not a UUID"),
        (UUID[:-1] + "g", "is not a UUID"),
        ("00000000-0000-0000-0000-000000000000", "the UUID of zeros cannot name a VM"),
    ],
)
def test_refused_uuid(text: str, words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        target.parse_uuid(text)
    assert caught.value.option == "uuid"


@pytest.fixture(name="etc")
def fixture_etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    paths = (str(tmp_path / "first"), str(tmp_path / "second"))
    monkeypatch.setattr(target, "_MACHINE_ID_PATHS", paths)
    return tmp_path


@pytest.mark.parametrize(
    "files",
    [
        {"first": MACHINE + "\n"},
        {"first": MACHINE, "second": 32 * "f"},
        {"second": MACHINE + "\n"},
        {"first": "uninitialized\n", "second": MACHINE},
        {"first": "", "second": MACHINE},
    ],
)
def test_default_uuid(etc: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (etc / name).write_text(content)
    expected = str(uuid.uuid5(uuid.UUID(MACHINE), "web01"))
    assert target.default_uuid("web01") == expected
    assert target.default_uuid("web01 ") != expected


@pytest.mark.parametrize("content", ["", "uninitialized", MACHINE.upper(), MACHINE[1:]])
def test_no_machine_id(etc: Path, content: str) -> None:
    (etc / "first").write_text(content)
    with pytest.raises(OptionError, match="no machine id") as caught:
        target.default_uuid("web01")
    assert caught.value.option == "uuid"


# uuid given, name and UUID that qemu reports, the VM's UUID
CHOICES = [
    (None, {}, "default"),
    (UUID, {}, UUID),
    (None, {"name": None, "uuid": None}, "default"),
    (None, {"name": "web01", "uuid": UUID}, UUID),
    (UUID, {"name": "web01", "uuid": UUID}, UUID),
    (UUID, {"name": None, "uuid": None}, UUID),
    (UUID, {"name": "web01", "uuid": None}, UUID),
]


@pytest.mark.parametrize(("given_uuid", "reported", "chosen"), CHOICES)
def test_choose(
    monkeypatch: pytest.MonkeyPatch,
    given_uuid: str | None,
    reported: dict[str, str | None],
    chosen: str,
) -> None:
    monkeypatch.setattr(target, "default_uuid", lambda name: "default")
    assert target.choose("web01", given_uuid, reported) == chosen


@pytest.mark.parametrize(
    ("given_uuid", "reported", "option"),
    [
        (None, {"name": "web02", "uuid": UUID}, "name"),
        (UUID, {"name": "", "uuid": UUID}, "name"),
        (OTHER, {"name": "web01", "uuid": UUID}, "uuid"),
        (OTHER, {"name": None, "uuid": UUID}, "uuid"),
    ],
)
def test_contradiction(
    given_uuid: str | None, reported: dict[str, str | None], option: str
) -> None:
    with pytest.raises(OptionError, match="the running VM") as caught:
        target.choose("web01", given_uuid, reported)
    assert caught.value.option == option


@given(outside_text.filter(lambda name: 0 < len(name) < 60))
def test_outside_names_are_taken_as_they_are(name: str) -> None:
    lone_bytes = any("\ud800" <= character <= "\udfff" for character in name)
    if lone_bytes:
        with pytest.raises(OptionError, match="not a text that UTF-8 can encode"):
            target.parse_name(name)
    else:
        assert target.parse_name(name) == name
