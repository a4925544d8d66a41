# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.process import (
    find_named,
    find_qemu,
    is_qemu,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    a_program,
    process_of,
)

UUID = "c1e2f3a4-0001-4000-8000-000000000021"
MONITOR = "chardev=virtaudit,mode=control"
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("qemu-system-x86_64", True),
        ("qemu-system-aarch64", True),
        ("qemu-kvm", True),
        ("qemu-kvm-10.0", True),
        ("kvm", True),
        ("qemu", True),
        (".qemu-system-x86_64-wrapped", True),
        ("virtqemud", False),
        ("qemu-img", False),
        ("my-qemu-system-x86_64.py", False),
        ("python3", False),
    ],
)
def test_the_program_decides_and_no_argument(
    start: Start, tmp_path: Path, name: str, is_one: bool
) -> None:
    program = a_program(tmp_path / name)
    other = "python3" if is_one else "/usr/bin/qemu-system-x86_64"
    assert is_qemu(process_of(start(name=other, program=program))) is is_one


def test_the_target_of_a_link_counts(start: Start, tmp_path: Path) -> None:
    a_program(tmp_path / "qemu-system-x86_64")
    link = tmp_path / "emulator"
    link.symlink_to("qemu-system-x86_64")
    assert is_qemu(process_of(start(name="emulator", program=link)))


@pytest.mark.parametrize(
    ("arguments", "name", "uuid"),
    [
        (["-name", "guest=a b,debug-threads=on", "-uuid", "U-1"], "a b", "u-1"),
        (["-name", "web01"], "web01", None),
        (["-name", "web01,process=x", "--uuid", "u"], "web01", "u"),
        (["-name", "process=x,guest=y"], "y", None),
        (["-name", "guest=a,,b,,,,c,debug-threads=on"], "a,b,,c", None),
        (["-name", "a,,uuid=x"], "a,uuid=x", None),
        (["-name", "a=b"], None, None),
        (["-smbios", "type=1,uuid=U-2"], None, "u-2"),
        (["-smbios", "type=2,uuid=U-2"], None, None),
        (["-smbios", "type=1,manufacturer=m,,uuid=x"], None, None),
        (["-smbios", "type=1,uuid=a", "-uuid", "b"], None, "b"),
        (["--name", "x", "--smbios", "type=1,uuid=c"], "x", "c"),
        (["-name"], None, None),
        ([], None, None),
    ],
)
def test_the_name_and_uuid_of_a_command_line(
    arguments: list[str], name: str | None, uuid: str | None
) -> None:
    assert told(["qemu", *arguments]) == (name, uuid)


def test_find_qemu(start: Start, tmp_path: Path) -> None:
    program = a_program(tmp_path / "kvm")
    start("-uuid", UUID, name="/usr/bin/qemu-system-x86_64")
    start("-name", UUID, "-uuid", "x" + UUID, name="kvm", program=program)
    assert find_qemu(UUID, [os.getuid()]) is None
    child = start("-smbios", f"type=1,uuid={UUID.upper()}", name="x", program=program)
    assert find_qemu(UUID, [os.getuid()]) == process_of(child)


@only_root
def test_a_wrapper_of_root_that_becomes_qemu(start: Start, tmp_path: Path) -> None:
    ours = ("-uuid", UUID, "-mon", MONITOR)
    starter = start(*ours, name="setpriv")
    start(*ours, program=Path("/bin/sh"), user=65534)
    start("--uuid", UUID, name="ausearch")
    assert find_qemu(UUID) == process_of(starter)
    program = a_program(tmp_path / "qemu-system-x86_64")
    child = start(*ours, program=program)
    assert find_qemu(UUID) == process_of(child)


@only_root
def test_a_qemu_of_another_user_is_not_the_vm(start: Start, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    program = a_program(Path("/tmp") / f"qemu-system-{os.getpid()}")
    try:
        child = start(
            "-uuid",
            UUID,
            "-name",
            "web,01".replace(",", ",,"),
            program=program,
            user=65534,
        )
    finally:
        program.unlink()
    assert find_qemu(UUID) is None
    assert find_named("web,01") is None
    assert find_qemu(UUID, [65534]) == process_of(child)
    assert find_named("web,01", [65534]) == (process_of(child), ("web,01", UUID))
