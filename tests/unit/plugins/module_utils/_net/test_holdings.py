# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import holdings, sysfs
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    process_of,
)


# /dev/null stands for the tun node, /dev/zero for vhost-net, /dev/full for a macvtap's.
@pytest.fixture(name="holder")
def fixture_holder(start: Start, monkeypatch: pytest.MonkeyPatch) -> Process:
    """A child with fd 201 on a tap, 202 on vhost-net, 203 on a macvtap and 204 elsewhere."""
    monkeypatch.setattr(holdings, "TUN_RDEV", os.stat("/dev/null").st_rdev)
    monkeypatch.setattr(holdings, "VHOST_NET_RDEV", os.stat("/dev/zero").st_rdev)
    full = os.stat("/dev/full").st_rdev
    numbers = (os.major(full), os.minor(full))
    monkeypatch.setattr(
        sysfs, "macvtap_of", lambda *given: "mv0" if given == numbers else None
    )
    monkeypatch.setattr(sysfs, "macvtap_node", {"mv0": "/dev/full"}.__getitem__)
    names = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/etc/passwd")
    for fd, path in enumerate(names, 201):
        opened = os.open(path, os.O_RDONLY)
        os.dup2(opened, fd, inheritable=False)
        os.close(opened)
    child = start(pass_fds=range(201, 206))
    for fd in range(201, 206):
        os.close(fd)
    return process_of(child)


HELD = {
    201: Device("/dev/null", "01:03", "tap0", 201),
    202: Device("/dev/zero", "01:05", None, 202),
    203: Device("/dev/full", "01:07", "mv0", 203),
}


@pytest.fixture(name="tun_name")
def fixture_tun_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "_tun_name", lambda process, fd: "tap0")


@pytest.mark.usefixtures("tun_name")
def test_devices(holder: Process) -> None:
    found = {fd: holdings.at(holder, fd) for fd in range(201, 207)}
    assert found == {**dict.fromkeys(range(201, 207)), **HELD}
    assert all(holdings.still_at(holder, known) for known in HELD.values())


@pytest.mark.usefixtures("tun_name")
@pytest.mark.parametrize(
    "known",
    [
        Device("/dev/null", "01:03", "tap1", 201),
        Device("/dev/null", "01:09", "tap0", 201),
        Device("/dev/null", None, "tap0", 201),
        Device("/dev/null", "01:03", "tap0", 202),
        Device("/dev/null", "01:03", "tap0", 206),
        Device("/dev/full", "01:07", "mv1", 203),
        Device("/etc/passwd", None, "tap0", 205),
    ],
)
def test_files_that_are_no_devices(holder: Process, known: Device) -> None:
    assert not holdings.still_at(holder, known)


@pytest.mark.usefixtures("tun_name")
def test_the_number_of_a_device_counts_but_not_its_path(holder: Process) -> None:
    assert holdings.still_at(holder, Device("/tmp/mine", "01:03", "tap0", 201))


@pytest.mark.usefixtures("tun_name")
def test_a_vhost_fd_serves_any_interface(holder: Process) -> None:
    assert holdings.still_at(holder, Device("/dev/zero", "01:05", "tap0", 202))
    assert holdings.still_at(holder, Device("/dev/zero", "01:05", "tap9", 202))


# Each case has the device number of the macvtap with that name, whether a link exists, whether the kernel says that the
# tap is in another network namespace, and whether the process counts as the holder.
HOLDERS: list[tuple[str | None, bool, bool, bool]] = [
    (None, True, False, True),
    (None, True, True, False),
    # A process can hold a macvtap only through the macvtap's own number.
    ("1:3", True, False, True),
    ("1:7", True, False, False),
    # A vdpa device, which has no link.
    (None, False, False, False),
]


@pytest.mark.usefixtures("tun_name")
@pytest.mark.parametrize(("number", "there", "foreign", "held"), HOLDERS)
def test_a_link_of_another_namespace_has_no_holder_here(
    holder: Process,
    monkeypatch: pytest.MonkeyPatch,
    number: str | None,
    there: bool,
    foreign: bool,
    held: bool,
) -> None:
    monkeypatch.setattr(holdings, "all_processes", lambda: [holder])
    monkeypatch.setattr(sysfs, "macvtap_rdev", lambda name: number)
    monkeypatch.setattr(sysfs, "exists", lambda name: there)
    monkeypatch.setattr(holdings, "is_foreign", lambda process, at: foreign)
    found = holdings._search("tap0", holder)
    assert (found is not None and found.process == holder) is held


@pytest.mark.usefixtures("tun_name")
def test_a_macvtap_of_another_namespace_is_not_ours(
    holder: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "all_processes", lambda: [holder])
    monkeypatch.setattr(sysfs, "macvtap_rdev", lambda name: "246:1")
    assert holdings._search("mv0", holder) is None
    monkeypatch.setattr(sysfs, "macvtap_rdev", lambda name: "1:7")
    assert holdings._search("mv0", holder) == holdings.Holding("mv0", holder, 203)


@pytest.mark.usefixtures("tun_name")
@pytest.mark.parametrize(
    ("rdev", "fds"), [("01:03", [201]), (None, [201]), ("F6:01", [])]
)
def test_qemu_keeps_a_device_only_by_the_same_number(
    holder: Process, rdev: str | None, fds: list[int]
) -> None:
    known = Device("/dev/null", rdev, "tap0", 250)
    # Its standard input is also /dev/null.
    kept = {each.fd for each in holdings.kept(holder, [known])} - {0}
    assert sorted(filter(None, kept)) == fds


def test_a_tun_fd_without_interface(holder: Process) -> None:
    assert holdings._tun_name(holder, 201) is None
    assert holdings._tun_name(holder, 206) is None


# The number of the macvtap may belong to the next one.
@pytest.mark.parametrize("next_one", [None, "mv1"])
def test_a_macvtap_whose_link_was_deleted_is_still_held(
    holder: Process, monkeypatch: pytest.MonkeyPatch, next_one: str | None
) -> None:
    # The kernel's view at that time: /dev no longer has the node, and /sys no longer has the
    # interface.
    real = os.readlink
    monkeypatch.setattr(sysfs, "macvtap_of", lambda *given: next_one)
    monkeypatch.setattr(sysfs, "macvtap_node", lambda name: "/dev/tap9")
    monkeypatch.setattr(
        os,
        "readlink",
        lambda path: "/dev/tap7 (deleted)" if path.endswith("/203") else real(path),
    )
    nameless = Device("/dev/tap7", "01:07", None, 203)
    assert holdings.at(holder, 203) == nameless
    assert nameless in holdings.of(holder)
    assert nameless not in holdings.beside(holder, [HELD[203]])
    assert 203 in holder.fds()
    assert holdings.still_at(holder, HELD[203])


# A second thread gets descriptors of its own, or shares them, and opens a device.
HIDING = """
import ctypes, os, sys, threading
def hide():
    assert ctypes.CDLL(None).unshare(int(sys.argv[1])) == 0
    os.open("/dev/full", os.O_RDONLY)
    print(1, flush=True)
    sys.stdin.read()
thread = threading.Thread(target=hide)
thread.start()
thread.join()
"""
# include/uapi/linux/sched.h
CLONE_FILES = 0x400
MACHINES = [os.uname().machine, "a machine without kcmp"]


@pytest.fixture(name="hider")
def fixture_hider(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> t.Iterator[Process]:
    """A process one of whose threads has a macvtap open, on a machine. It also takes what that thread unshares."""
    machine, unshared = request.param
    full = os.stat("/dev/full").st_rdev
    numbers = (os.major(full), os.minor(full))
    monkeypatch.setattr(
        sysfs, "macvtap_of", lambda *given: "mv0" if given == numbers else None
    )
    monkeypatch.setattr(sysfs, "macvtap_rdev", lambda name: "1:7")
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result([*real[:4], machine]))
    with subprocess.Popen(
        [sys.executable, "-c", HIDING, str(unshared)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        found = process_of(child)
        monkeypatch.setattr(holdings, "all_processes", lambda: [found])
        yield found
        child.kill()


@pytest.mark.parametrize(
    "hider", [(each, CLONE_FILES) for each in MACHINES], indirect=True
)
def test_a_thread_cannot_hide_a_device(hider: Process) -> None:
    assert holdings.of(hider) == []
    assert holdings.hidden(hider) == [Device("/dev/full", "01:07", "mv0", None)]
    found = holdings._search("mv0", None)
    assert found == holdings.Holding("mv0", hider)
    assert "holds mv0 in a thread with descriptors of its own" in str(found)


@pytest.mark.parametrize("hider", [(each, 0) for each in MACHINES], indirect=True)
def test_a_device_that_all_threads_share_is_not_hidden(hider: Process) -> None:
    assert [each.dev for each in holdings.of(hider)] == ["mv0"]
    assert holdings.hidden(hider) == []
