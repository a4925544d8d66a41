# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The items of virtaudit_vms can have all options of vm_net_attach."""

from __future__ import annotations

import typing as t
from pathlib import Path

import yaml

from ansible_collections.virtaudit.qemu.plugins.module_utils._argspec import (
    attach_options,
    audit_options,
    vm_options,
)

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"


def read(name: str) -> t.Any:
    return yaml.safe_load((PLAYBOOKS / name).read_text(encoding="utf-8"))


def test_each_option_of_the_module_is_a_key_that_the_playbook_passes_on() -> None:
    options = {*vm_options(timeout=10), *audit_options(), *attach_options()}
    (check,) = read("tasks/vms.yml")
    assert set(check["vars"]["__virtaudit_keys"]) == options
    (play,) = read("attach.yml")
    assert set(play["tasks"][1]["virtaudit.qemu.vm_net_attach"]) == options
