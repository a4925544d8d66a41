# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils import _argspec
from ansible_collections.virtaudit.qemu.plugins.module_utils._argspec import Spec
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.mode import Mode
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface_options import (
    parse_interfaces,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.command import (
    QemuOptions,
    parse_qemu,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import an_item

ATTACH = _argspec.attach_options()
INTERFACE: Spec = ATTACH["interfaces"]["options"]
QEMU: Spec = ATTACH["qemu"]["options"]


def defaults(spec: Spec) -> dict[str, t.Any]:
    """Return what a module gets when a task gives no option."""
    return {name: option.get("default") for name, option in spec.items()}


def test_an_interface_needs_a_mac_and_a_source() -> None:
    required = {name for name, option in INTERFACE.items() if option.get("required")}
    assert required == {"mac", "source"}
    given = {"mac": "52:54:00:00:00:01", "source": "br0"}
    assert {**defaults(INTERFACE), **given} == an_item()
    assert len(parse_interfaces([{**defaults(INTERFACE), **given}])) == 1


def test_qemu_starts_with_defaults() -> None:
    assert set(QEMU) == set(QemuOptions._fields)
    assert parse_qemu(defaults(QEMU), []).hotplug_ports == 8


def test_records_are_required_by_default() -> None:
    audit = _argspec.audit_options()["audit"]
    assert audit["default"] == "required"
    assert tuple(audit["choices"]) == t.get_args(Mode)


@pytest.mark.parametrize(
    ("option", "default"), [("force", False), ("stop_vm", "never"), ("macs", None)]
)
def test_a_detach_does_not_force_by_default(option: str, default: object) -> None:
    assert defaults(_argspec.detach_options())[option] == default


def test_a_mismatch_is_changed_in_place_by_default() -> None:
    assert ATTACH["on_mismatch"]["default"] == "update"
    assert _argspec.vm_options(30.0)["timeout"]["default"] == 30.0
