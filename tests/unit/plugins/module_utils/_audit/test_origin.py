# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import builtins
import io
import os
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin


def test_fields() -> None:
    assert list(Origin("/x", "192.0.2.1", None).fields().items()) == [
        ("exe", "/x"),
        ("hostname", None),
        ("addr", "192.0.2.1"),
        ("terminal", None),
    ]


def test_this_process() -> None:
    found = Origin.of_this_process()
    assert os.path.samefile(found.exe, "/proc/self/exe")


# environ of this process, its parent and its grandparent; the address of the record
ANCESTORS: list[tuple[list[bytes | None], str | None]] = [
    ([b"", b"", b""], None),
    ([b"SSH_CONNECTION=192.0.2.7 50000 192.0.2.1 22\0A=b\0"], "192.0.2.7"),
    ([b"A=b\0SSH_CONNECTION=2001:db8::7 5 2001:db8::1 22\0", b""], "2001:db8::7"),
    ([b"SSH_CONNECTION=fe80::1%eth0 5 fe80::2 22\0"], "fe80::1"),
    # sudo dropped the variable, and the value further out is the one that sshd set
    ([b"A=b\0", b"SSH_CONNECTION=192.0.2.7 5 192.0.2.1 22\0", None], "192.0.2.7"),
    (
        [
            b"SSH_CONNECTION=203.0.113.9 5 192.0.2.1 22\0",
            b"SSH_CONNECTION=192.0.2.7 5 192.0.2.1 22\0",
        ],
        "192.0.2.7",
    ),
    ([None, None, b"SSH_CONNECTION=192.0.2.7 5 192.0.2.1 22\0"], "192.0.2.7"),
    ([b"XSSH_CONNECTION=192.0.2.7 5 192.0.2.1 22\0"], None),
    ([b"SSH_CONNECTION=\0"], None),
    ([b"SSH_CONNECTION=localhost 5 192.0.2.1 22\0"], None),
    ([b"SSH_CONNECTION=192.0.2.7' res=success 5\0"], None),
    ([b"SSH_CONNECTION=\xff\xfe 5\0"], None),
]


@pytest.mark.parametrize(("environs", "address"), ANCESTORS)
def test_address(
    monkeypatch: pytest.MonkeyPatch, environs: list[bytes | None], address: str | None
) -> None:
    pids = [os.getpid(), 70001, 70002][: len(environs)]
    parents = dict(zip(pids, [*pids[1:], 1]))
    content = {f"/proc/{pid}/environ": data for pid, data in zip(pids, environs)}
    opened = builtins.open

    def fake_open(path: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        if path not in content:
            return opened(path, *args, **kwargs)
        data = content[path]
        if data is None:
            raise PermissionError(13, "Permission denied")
        return io.BytesIO(data)

    monkeypatch.setattr(builtins, "open", fake_open)
    monkeypatch.setattr(origin, "stat_fields", lambda pid: ["S", str(parents[pid])])
    assert origin._ssh_client() == address


def test_an_ancestor_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "stat_fields", lambda pid: None)
    monkeypatch.setattr(origin, "_address_in", lambda pid: "192.0.2.7")
    assert origin._ssh_client() == "192.0.2.7"


@pytest.mark.parametrize(
    ("names", "terminal"),
    [
        ({}, None),
        ({0: "/dev/pts/3"}, "pts/3"),
        ({2: "/dev/tty1"}, "tty1"),
        ({1: "/dev/pts/1", 2: "/dev/pts/2"}, "pts/1"),
        ({0: "/console"}, "/console"),
    ],
)
def test_terminal(
    monkeypatch: pytest.MonkeyPatch, names: dict[int, str], terminal: str | None
) -> None:
    def ttyname(fd: int) -> str:
        if fd not in names:
            raise OSError(25, "Inappropriate ioctl for device")
        return names[fd]

    monkeypatch.setattr(os, "ttyname", ttyname)
    assert origin._terminal() == terminal


def test_a_real_terminal() -> None:
    leader, follower = os.openpty()
    saved = os.dup(0)
    try:
        os.dup2(follower, 0)
        assert f"/dev/{origin._terminal()}" == os.ttyname(follower)
    finally:
        os.dup2(saved, 0)
        for fd in (leader, follower, saved):
            os.close(fd)
