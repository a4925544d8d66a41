# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of each module have options that the module takes."""

from __future__ import annotations

import importlib
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

PACKAGE = "ansible_collections.virtaudit.qemu.plugins.modules"
MODULES = Path(__file__).parents[4] / "plugins" / "modules"
NAMES = sorted(path.stem for path in MODULES.glob("vm_*.py"))
RULES = (
    "mutually_exclusive",
    "required_together",
    "required_one_of",
    "required_if",
    "required_by",
)


class SpecificationError(Exception):
    """Carries the arguments that a module gives to AnsibleModule, and ends its main()."""


def specification(
    module: t.Any, monkeypatch: pytest.MonkeyPatch
) -> ArgumentSpecValidator:
    def capture(argument_spec: t.Any, **options: t.Any) -> None:
        rules = {name: options[name] for name in RULES if name in options}
        raise SpecificationError(ArgumentSpecValidator(argument_spec, **rules))

    monkeypatch.setattr(module, "AnsibleModule", capture)
    with pytest.raises(SpecificationError) as caught:
        module.main()
    validator = caught.value.args[0]
    assert isinstance(validator, ArgumentSpecValidator)
    return validator


def macs_of(options: t.Mapping[str, t.Any]) -> list[t.Any]:
    macs = options.get("macs", [])
    return [
        *(macs if isinstance(macs, list) else [macs]),
        *(nic["mac"] for nic in options.get("interfaces", [])),
        *([options["mac"]] if "mac" in options else []),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_options(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"{PACKAGE}.{name}")
    validator = specification(module, monkeypatch)
    tasks = [
        task
        for task in yaml.safe_load(module.EXAMPLES)
        if f"virtaudit.qemu.{name}" in task
    ]
    assert tasks
    for task in tasks:
        options = task[f"virtaudit.qemu.{name}"]
        # Unquoted, YAML reads many a MAC as a number.
        assert all(isinstance(mac, str) for mac in macs_of(options)), task["name"]
        assert not validator.validate(options).error_messages, task["name"]


def test_there_are_modules() -> None:
    assert NAMES
