# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs processes of an unprivileged user, with only the capabilities and namespaces that an attack asks for."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator

NOBODY = 65534
CAP_NET_ADMIN, CAP_AUDIT_WRITE = 12, 29
# sched.h
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x00020000,
    0x10000000,
    0x20000000,
    0x40000000,
)
DONE = "done"

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS = 1, 8
_CAPABILITY_VERSION_3 = 0x20080522
_ROUND_SECONDS = 0.0005
_HEADER = struct.Struct("=IHHII")
# linux/netlink.h: NLM_F_REQUEST, NLM_F_ACK
_FLAGS = 0x1 | 0x4


def become(uid: int = NOBODY, capabilities: tuple[int, ...] = ()) -> None:
    """Make this process a process of a user, with these capabilities (``capabilities(7)``) and no others."""
    # The process must not outlive a test that is killed.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    mask = sum(1 << number for number in capabilities)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    # struct __user_cap_data_struct: effective, permitted, inheritable
    data = struct.pack("=6I", mask, mask, 0, 0, 0, 0)
    if _libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset failed")
    # The change of the user has cleared it.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def try_as(
    call: Callable[[], object],
    uid: int = NOBODY,
    capabilities: tuple[int, ...] = (),
    namespaces: int = 0,
) -> str:
    """Try a call as a user. Return :data:`DONE`, or the name of the errno that refused it, such as ``EPERM``.

    ``namespaces`` are the process's own namespaces, as ``CLONE_`` flags. In its own user namespace it has every
    capability. In other namespaces it has only ``capabilities``, like a user of a container.
    """
    read_end, write_end = os.pipe()

    def enter_and_try() -> None:
        if namespaces & CLONE_NEWUSER:
            unshare(namespaces)
        os.write(write_end, _try(call).encode())

    outside = 0 if namespaces & CLONE_NEWUSER else namespaces
    pid = _fork(enter_and_try, uid, capabilities, outside)
    os.close(write_end)
    with open(read_end, encoding="utf-8") as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


def unshare(namespaces: int) -> None:
    """Enter new namespaces (``unshare(2)``). A new pid namespace applies only to children."""
    if _libc.unshare(namespaces):
        raise OSError(ctypes.get_errno(), "unshare failed")


def send_record(number: int, text: str) -> None:
    """Write an audit record. Raises :class:`OSError` with the kernel's error."""
    data = text.encode() + b"\0"
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as sender:
        head = _HEADER.pack(_HEADER.size + len(data), number, _FLAGS, 1, 0)
        sender.sendto(head + data, (0, 0))
        answer = sender.recv(16384)
    # struct nlmsgerr: a negative errno, then the message that it is about
    (negative,) = struct.unpack_from("=i", answer, _HEADER.size)
    if negative:
        raise OSError(-negative, "the kernel refused the record")


@contextlib.contextmanager
def repeating(
    call: Callable[[], object],
    uid: int = NOBODY,
    capabilities: tuple[int, ...] = (),
) -> Iterator[int]:
    """Let a user's process repeat a call as long as the context lasts. Yield its pid."""

    def repeat() -> None:
        while True:
            with contextlib.suppress(OSError):
                call()
            time.sleep(_ROUND_SECONDS)

    pid = _fork(repeat, uid, capabilities)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _try(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]
    return DONE


def _fork(
    call: Callable[[], object],
    uid: int,
    capabilities: tuple[int, ...],
    namespaces: int = 0,
) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            if namespaces:
                unshare(namespaces)
                # The first child is in the new namespace of pids.
                inner = os.fork()
                if inner:
                    os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
            become(uid, capabilities)
            call()
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(1)
    return pid


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl failed")
