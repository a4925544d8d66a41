# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.kernel import (
    KernelOpen,
    Majors,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.lines import (
    parse_line,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.scan import Line

# A kernel 6.18 wrote these records, and auditd 3.0.9 logged them.
SYSCALL = (
    "type=SYSCALL msg=audit(1795450176.885:8539): arch=c000003e syscall=257 success=yes exit=4 a0=ffffff9c"
    " a1=55dfe0f72933 a2=2 a3=0 items=1 ppid=16722 pid=16729 auid=4294967295 uid=0 gid=0 euid=0 suid=0 fsuid=0"
    ' egid=0 sgid=0 fsgid=0 tty=(none) ses=4294967295 comm="ip" exe="/usr/bin/ip" key="probe"\x1dARCH=x86_64'
    ' SYSCALL=openat AUID="unset" UID="root"'
)
BETWEEN = (
    'type=CWD msg=audit(1795450176.885:8539): cwd="/tmp"\ntype=USER msg=audit(1.0:1): x'
)
PATH = (
    'type=PATH msg=audit(1795450176.885:8539): item=0 name="/dev/net/tun" inode=105 dev=00:06 mode=020600 ouid=0'
    ' ogid=0 rdev=0a:c8 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0\x1dOUID="root"'
)
IOCTL = (
    "type=SYSCALL msg=audit(1795450176.885:8540): arch=c000003e syscall=16 success=yes exit=0 a0=4 a1=400454ca"
    " a2=7ffeab89a740 a3=0 items=0 ppid=16722 pid=16729 auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0"
    ' fsgid=0 tty=(none) ses=7 comm="ip" exe="/usr/bin/ip" subj=unconfined key="probe"'
)


def read(
    path: str = PATH, before: str = f"{SYSCALL}\n{BETWEEN}\n"
) -> KernelOpen | None:
    item = parse_line(Line(path.encode(), before.encode()))
    assert item is None or isinstance(item, KernelOpen)
    return item


def test_an_open() -> None:
    assert read() == KernelOpen(
        event="1795450176.885:8539",
        time=1795450176.885,
        node=None,
        kind="tap",
        path="/dev/net/tun",
        rdev="0A:C8",
        fd=4,
        pid=16729,
        auid=None,
        ses=None,
        exe="/usr/bin/ip",
    )


def test_a_tunsetiff() -> None:
    found = read(f"node=hv1 {IOCTL}")
    assert found is not None
    assert (found.node, found.pid, found.auid, found.ses) == ("hv1", 16729, 1000, 7)
    assert (found.tunsetiff, found.path, found.fd) == (True, None, None)


@pytest.mark.parametrize(
    ("old", "new", "kind", "path"),
    [
        ('name="/dev/net/tun"', 'name="tun"', "tap", "tun"),
        ('name="/dev/net/tun"', "name=2F6465762F6E65742F74756E", "tap", "/dev/net/tun"),
        ('name="/dev/net/tun"', "name=(null)", "tap", None),
        ("rdev=0a:c8", "rdev=0a:ee", "vhost", "/dev/net/tun"),
    ],
)
def test_a_node_is_what_its_number_says(
    old: str, new: str, kind: str, path: str | None
) -> None:
    found = read(PATH.replace(old, new))
    assert found is not None
    assert (found.kind, found.path) == (kind, path)


def test_lines_with_windows_line_ends() -> None:
    raw = SYSCALL.partition("\x1d")[0]
    assert read(before=f"{raw}\r\n{BETWEEN}\r\n", path=f"{PATH}\r") == read(before=raw)
    assert read(f"{IOCTL}\r") == read(IOCTL)


@pytest.mark.parametrize(
    "label",
    [
        "obj=system_u:object_r:tun_tap_device_t:s0 nametype=",
        "obj=system_u:object_r:tun_tap_device_t:s0:c1,c2 nametype=",
        "osid=17 nametype=",
        # The form of Enterprise Linux 7.
        "obj=system_u:object_r:tun_tap_device_t:s0 objtype=",
        "objtype=",
    ],
)
def test_a_node_with_a_label(label: str) -> None:
    found = read(PATH.replace("nametype=", label))
    assert found is not None
    assert (found.kind, found.rdev) == ("tap", "0A:C8")


def test_macvtap() -> None:
    found = read(PATH.replace("/dev/net/tun", "/dev/tap948").replace("0a:c8", "f6:01"))
    assert found is not None
    assert (found.kind, found.rdev) == ("macvtap", "F6:01")


def test_a_macvtap_under_another_name() -> None:
    """Somebody may make a node with another name. On this host the kernel tells its major number."""
    text = PATH.replace("/dev/net/tun", "/tmp/x").replace("0a:c8", "f6:01")
    line = Line(text.encode(), SYSCALL.encode())
    assert parse_line(line) is None
    found = parse_line(line, Majors({246: "macvtap"}, 1795450176.0))
    assert isinstance(found, KernelOpen)
    assert (found.kind, found.path, found.rdev) == ("macvtap", "/tmp/x", "F6:01")
    # Another major number, or that of an earlier boot.
    assert parse_line(line, Majors({247: "macvtap"}, 1795450176.0)) is None
    assert parse_line(line, Majors({246: "macvtap"}, 1795450177.0)) is None


def test_vhost_vdpa() -> None:
    text = PATH.replace("/dev/net/tun", "/dev/vhost-vdpa-0").replace("0a:c8", "ec:00")
    found = read(text)
    assert found is not None
    assert (found.kind, found.rdev) == ("vdpa", "EC:00")
    # The node has another name, but its major number shows what it is.
    line = Line(text.replace("/dev/vhost-vdpa-0", "/tmp/x").encode(), SYSCALL.encode())
    assert parse_line(line) is None
    named = parse_line(line, Majors({246: "macvtap", 236: "vdpa"}, 1795450176.0))
    assert isinstance(named, KernelOpen)
    assert (named.kind, named.path) == ("vdpa", "/tmp/x")


def test_a_failed_open() -> None:
    found = read(before=SYSCALL.replace("success=yes exit=4", "success=no exit=-16"))
    assert found is not None
    assert found.fd is None


@pytest.mark.parametrize(
    "change",
    [
        ("arch=c000003e syscall=257", "arch=c000003e syscall=437"),
        ("arch=c000003e syscall=257", "arch=c00000b7 syscall=56"),
        ("arch=c000003e syscall=257", "arch=c0001234 syscall=999"),
        # creat and open_by_handle_at
        ("arch=c000003e syscall=257", "arch=c000003e syscall=85"),
        ("arch=c000003e syscall=257", "arch=c000003e syscall=304"),
        ("arch=c000003e syscall=257", "arch=40000003 syscall=8"),
        ("arch=c000003e syscall=257", "arch=40000003 syscall=342"),
        ("arch=c000003e syscall=257", "arch=c00000b7 syscall=265"),
        ("arch=c000003e syscall=257", "arch=c0000015 syscall=346"),
        ("arch=c000003e syscall=257", "arch=80000016 syscall=336"),
    ],
)
def test_opens_by_number(change: tuple[str, str]) -> None:
    raw = SYSCALL.partition("\x1d")[0]
    assert read(before=raw.replace(*change)) is not None


RAW = SYSCALL.partition("\x1d")[0]
BY_OPEN = ("syscall=257", "syscall=2"), ("a1=55dfe0f72933", "a1=280000")


@pytest.mark.parametrize(
    "before",
    [
        # The records of udev about a macvtap, and of systemd-tmpfiles about /dev/net/tun.
        SYSCALL.replace(" a2=2 ", " a2=280000 "),
        RAW.replace(" a2=2 ", " a2=2a0000 "),
        RAW.replace(*BY_OPEN[0]).replace(*BY_OPEN[1]),
        RAW.replace("syscall=257", "syscall=304").replace(" a2=2 ", " a2=280000 "),
        SYSCALL.replace("openat", "open_by_handle_at").replace(" a2=2 ", " a2=280000 "),
    ],
)
def test_a_call_that_only_takes_a_path_opens_no_device(before: str) -> None:
    assert read(before=before) is None


@pytest.mark.parametrize(
    "before",
    [
        # The same flags mean something else in the other call.
        SYSCALL.replace(*BY_OPEN[1]),
        RAW.replace(*BY_OPEN[0])
        .replace("a1=55dfe0f72933", "a1=2")
        .replace(" a2=2 ", " a2=280000 "),
        # openat2 has the flags elsewhere, and an unknown architecture may have another number for
        # the call.
        RAW.replace("syscall=257", "syscall=437").replace(" a2=2 ", " a2=280000 "),
        RAW.replace("arch=c000003e", "arch=c0001234").replace(" a2=2 ", " a2=280000 "),
    ],
)
def test_a_call_that_may_open_a_device(before: str) -> None:
    assert read(before=before) is not None


@pytest.mark.parametrize(
    ("name", "rdev", "kind"),
    [
        ("/proc/self/fd/16", "f5:01", "macvtap"),
        ("/proc/4711/task/4712/fd/16", "1ff:01", "macvtap"),
        ("/proc/thread-self/fd/16", "0a:c8", "tap"),
        # A terminal.
        ("/proc/self/fd/0", "88:01", None),
    ],
)
def test_a_path_decides_which_device_was_opened(
    name: str, rdev: str, kind: str | None
) -> None:
    found = read(PATH.replace("/dev/net/tun", name).replace("0a:c8", rdev))
    assert (found and found.kind) == kind


@pytest.mark.parametrize(
    ("path", "before"),
    [
        (PATH, ""),
        (PATH, SYSCALL.replace(":8539)", ":8538)")),
        (PATH, SYSCALL.replace("SYSCALL=openat", "SYSCALL=chmod")),
        (PATH, SYSCALL.partition("\x1d")[0].replace("syscall=257", "syscall=90")),
        (PATH, SYSCALL[:250]),
        (PATH.replace("020600", "0100600"), SYSCALL),
        (PATH.replace("0a:c8", "01:03"), SYSCALL),
        (PATH[:120], SYSCALL),
        (PATH.replace("/dev/net/tun", "/dev/tapx").replace("0a:c8", "f6:01"), SYSCALL),
        (IOCTL.replace("success=yes", "success=no"), ""),
        (IOCTL.replace("a1=400454ca", "a1=400454cb"), ""),
        (IOCTL[:200], ""),
        (IOCTL.replace("syscall=16", "syscall=257"), ""),
    ],
)
def test_records_that_are_no_open(path: str, before: str) -> None:
    assert read(path, before) is None
