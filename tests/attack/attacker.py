# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of an unprivileged user, with no capability but those that an attack says it has."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator

NOBODY = 65534
CAP_NET_ADMIN, CAP_AUDIT_WRITE = 12, 29
DONE = "done"

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS = 1, 8
_CAPABILITY_VERSION_3 = 0x20080522
_ROUND_SECONDS = 0.0005


def become(uid: int = NOBODY, capabilities: tuple[int, ...] = ()) -> None:
    """Make this process one of a user, with these capabilities (``capabilities(7)``) and no others."""
    # It must not outlive a test that is killed.
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
    # A change of user has cleared it.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def try_as(
    call: Callable[[], object],
    uid: int = NOBODY,
    capabilities: tuple[int, ...] = (),
) -> str:
    """Try a call as a user; return :data:`DONE`, or the name of the errno that refused it, as ``EPERM``."""
    read_end, write_end = os.pipe()
    pid = _fork(lambda: os.write(write_end, _try(call).encode()), uid, capabilities)
    os.close(write_end)
    with open(read_end, encoding="utf-8") as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


@contextlib.contextmanager
def repeating(
    call: Callable[[], object],
    uid: int = NOBODY,
    capabilities: tuple[int, ...] = (),
) -> Iterator[int]:
    """Have a user's process repeat a call for as long as the context lasts; give its pid."""

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


def _fork(call: Callable[[], object], uid: int, capabilities: tuple[int, ...]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
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
