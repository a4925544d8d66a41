# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network that a link is on, as the kernel shows it: what records say is what is so, and not what was asked for."""

from __future__ import annotations

from .._audit.network import Network
from . import sysfs


def network_of(ifname: str, kind: str) -> tuple[str | None, Network | None]:
    """Return the name of a link and the network that it is on, for its records; nothing when it is not there.

    ``kind`` is the interface's type: a tap (``bridge``) is a port of its source, a macvtap (``direct``) is on it.
    """
    if not sysfs.exists(ifname):
        return None, None
    source = sysfs.master(ifname) if kind == "bridge" else sysfs.lower(ifname)
    return ifname, Network(source, link=None if sysfs.is_up(ifname) else "down")
