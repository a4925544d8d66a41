# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells whether this process runs in the host's own namespaces, in which the kernel's audit system serves it.

Sources: ``namespaces(7)``; ``kernel/audit.c``: requests are refused outside of the initial user and pid
namespaces, and records are echoed in the initial network namespace only; ``include/linux/proc_ns.h``;
``net/core/sysctl_net_core.c``.
"""

from __future__ import annotations

import os

_SETTINGS = "/proc/sys/net/core"
_INITIAL = {"user": "user:[4026531837]", "pid": "pid:[4026531836]"}


def foreign() -> str | None:
    """Return the kind of namespace that is not the host's own (user, pid or network), or ``None`` if all are."""
    for kind, initial in _INITIAL.items():
        if _of("self", kind) not in (initial, None):
            return kind
    return None if _is_network_of_the_host() else "network"


def _is_network_of_the_host() -> bool:
    # The number of the first network namespace differs between kernels, so process 1 is compared.
    # At this point process 1 is known to be the host's.
    own, hosts = _of("self", "net"), _of("1", "net")
    if None not in (own, hosts):
        return own == hosts
    # The task has no right to look at process 1. Some settings exist only in the first network
    # namespace.
    return not os.path.isdir(_SETTINGS) or os.path.exists(f"{_SETTINGS}/dev_weight")


def _of(process: str, kind: str) -> str | None:
    try:
        return os.readlink(f"/proc/{process}/ns/{kind}")
    except OSError:
        return None
