# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.task import (
    parse_ticket,
    run_of_environment,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.host import a_kernel


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
        ("a\udcff", "^ticket: .* is not a text that UTF-8 can encode"),
    ],
)
def test_what_no_record_can_carry(text: str, problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        parse_ticket(text)


@pytest.mark.parametrize(
    ("told", "run"),
    [
        (UUID, UUID),
        (None, None),
        ("", None),
        (UUID.upper(), None),
        # Text from outside can neither break nor forge a record.
        (f"{UUID} res=success", None),
        (f"{UUID}\n", None),
    ],
)
def test_the_run_of_ansible(
    monkeypatch: pytest.MonkeyPatch, told: str | None, run: str | None
) -> None:
    monkeypatch.delenv("VIRTAUDIT_RUN", raising=False)
    if told is not None:
        monkeypatch.setenv("VIRTAUDIT_RUN", told)
    assert run_of_environment() == run


def test_the_run_stands_in_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTAUDIT_RUN", UUID)
    kernel = a_kernel(monkeypatch)
    says = Messages(Vm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None))
    with Auditor("required", "CHG-1") as auditor:
        auditor.write(says.net_detach(MAC, success=True))
    (text,) = kernel.texts
    assert f' ticket="CHG-1" run={UUID} exe=' in text
