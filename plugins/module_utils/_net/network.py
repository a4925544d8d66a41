# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network that a link is on, as the kernel shows it: what records say is what is so, and not what was asked for."""

from __future__ import annotations

from .._audit.network import Network
from .._errors import LinkError
from . import sysfs
from .backends import backend_of
from .nic_link import NicLink


def network_of(link: NicLink, kind: str) -> tuple[str | None, Network | None]:
    """Return the name of a link and the network that it is on, for records of what failed.

    Nothing when it is not there; without what cannot be read. ``kind`` is the interface's type.
    """
    backend = backend_of(kind)
    if backend.has_link and not sysfs.exists(link.ifname):
        return None, None
    try:
        return link.ifname, backend.observe(link)
    except LinkError:
        return link.ifname, backend.observe(link.on(Network()))
