# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells whether the tap behind a descriptor of another process is in another network namespace.

/proc shows only the name of a tap, and any user can make a tap with the same name in a namespace of his own. The
namespace of the process does not show it, because a process can get a descriptor through a socket. So this code asks
the kernel about the tap behind the descriptor. Source: ``drivers/net/tun.c``: TUNGETDEVNETNS, since Linux 5.7.
"""

from __future__ import annotations

import fcntl
import os
import typing as t

if t.TYPE_CHECKING:
    from .._proc import Process

# include/uapi/linux/if_tun.h
_TUNGETDEVNETNS = 0x54E3


def is_foreign(process: Process, fd: int) -> bool:
    """Tell whether the kernel says that the tap is in another network namespace than this task.

    If the kernel does not say that, the tap may be one of this namespace.
    """
    try:
        copy = process.copy_of(fd)
        try:
            namespace = fcntl.ioctl(copy, _TUNGETDEVNETNS, 0)
        finally:
            os.close(copy)
        try:
            there = os.fstat(namespace)
        finally:
            os.close(namespace)
        return not os.path.samestat(there, os.stat("/proc/self/ns/net"))
    except (ImportError, OSError):
        # An old kernel, a sandbox, or a Python without ctypes.
        return False
