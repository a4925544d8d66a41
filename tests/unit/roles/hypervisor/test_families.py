# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares what both roles know about untested systems with the documentation of these systems."""

from __future__ import annotations

import os
import types
import typing as t
from pathlib import Path

import jinja2
import pytest
import yaml
from ansible.module_utils.facts.system.distribution import Distribution

from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import launch

ROLES = Path(__file__).resolve().parents[4] / "roles"
HYPERVISOR = yaml.safe_load((ROLES / "hypervisor/vars/main.yml").read_text())
AUDITD = yaml.safe_load((ROLES / "auditd/vars/main/main.yml").read_text())
FAMILIES = HYPERVISOR["__hypervisor_families"]


def rendered(text: str, machine: str) -> str:
    environment = jinja2.Environment()  # noqa: S701 - not HTML
    environment.filters["regex_replace"] = lambda text, *_args: text
    qemu = HYPERVISOR["__hypervisor_qemu_system"]
    facts = {"architecture": machine}
    system = environment.from_string(qemu).render(ansible_facts=facts).strip()
    debian = HYPERVISOR["__hypervisor_debian_qemu"]
    return environment.from_string(text).render(
        ansible_facts=facts,
        __hypervisor_qemu_system=system,
        __hypervisor_debian_qemu=debian,
    )


# The names that Ansible gives these systems.
@pytest.mark.parametrize(
    ("system", "family"),
    [
        ("Debian", "Debian"),
        ("Ubuntu", "Debian"),
        ("RedHat", "RedHat"),
        ("CentOS", "RedHat"),
        ("Rocky", "RedHat"),
        ("AlmaLinux", "RedHat"),
        ("Fedora", "RedHat"),
        ("SLES", "Suse"),
        ("openSUSE Leap", "Suse"),
    ],
)
def test_each_system_is_of_a_family_that_both_roles_know(
    system: str, family: str
) -> None:
    assert Distribution.OS_FAMILY[system] == family
    assert {"packages", "openvswitch", "binary"} == FAMILIES[family].keys()
    known = AUDITD["__auditd_families"][family.lower()]
    assert known.keys() == {"packages", "forwards"}


@pytest.mark.parametrize(
    ("family", "machine", "packages", "binary"),
    [
        ("Debian", "x86_64", "qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
        ("Debian", "aarch64", "qemu-system-arm", "/usr/bin/qemu-system-aarch64"),
        ("RedHat", "x86_64", "qemu-kvm", "/usr/libexec/qemu-kvm"),
        ("RedHat", "aarch64", "qemu-kvm", "/usr/libexec/qemu-kvm"),
        ("Suse", "x86_64", "qemu-kvm", "/usr/bin/qemu-system-x86_64"),
    ],
)
def test_the_paths_of_qemu_of_each_family(
    family: str, machine: str, packages: str, binary: str
) -> None:
    assert rendered(FAMILIES[family]["packages"][0], machine) == packages
    assert rendered(FAMILIES[family]["binary"], machine) == binary


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "i686"])
def test_the_modules_and_the_role_look_at_the_same_paths(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine=machine))
    pc = machine.replace("i686", "x86_64")
    texts: list[t.Any] = HYPERVISOR["__hypervisor_binaries"]
    places = [rendered(text, pc) for text in texts]
    names = [p.replace("/usr/bin/qemu-system", "qemu-system") for p in places]
    assert names == launch.usual_binaries()


# audit 3 (RHEL 9, Debian 12) and audit 4 (RHEL 10, Fedora, Debian 13), from the units of audit-userspace.
@pytest.mark.parametrize(
    ("unit", "loads"),
    [
        ("auditd.service", "ExecStartPost=-/sbin/augenrules --load"),
        ("audit-rules.service", "ExecStart=/sbin/augenrules --load"),
    ],
)
def test_this_boot_is_prepared_before_the_unit_that_loads_the_rules(
    unit: str, loads: str
) -> None:
    text = (ROLES / "auditd/files/virtaudit-audit-prepare.service").read_text()
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert unit in lines["Before"].split(), loads
    assert unit in lines["WantedBy"].split()
    assert any(unit in link for link in AUDITD["__auditd_boot_links"])
    # Both units come before sysinit.target and after these two, so there is no circle.
    assert lines["DefaultDependencies"] == "no"
    assert set(lines["After"].split()) <= {
        "local-fs.target",
        "systemd-modules-load.service",
    }


def test_the_daemon_is_not_stopped_through_systemd() -> None:
    """RHEL's unit says RefuseManualStop=yes."""
    for path in filter(Path.is_file, (ROLES / "auditd/files").iterdir()):
        text = path.read_text()
        assert "systemctl stop" not in text
        assert "systemctl restart" not in text
