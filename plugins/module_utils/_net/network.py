# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads from the kernel which network a link is on.

Records have the real network, and not the one that the task asked for.
"""

from __future__ import annotations

import contextlib
import typing as t

from .._audit.network import Network
from .._errors import LinkError
from . import sysfs
from .backends import backend_of
from .nic_link import NicLink


def network_of(link: NicLink, kind: str) -> tuple[str | None, Network | None]:
    """Return the name of a link and the network that it is on, for the record of a failure.

    Return nothing if the link does not exist, and leave out what cannot be read. ``kind`` is the interface's
    type.
    """
    backend = backend_of(kind)
    if backend.has_link and not sysfs.exists(link.ifname):
        return None, None
    # Without VLAN and filter there is less to read.
    for each in (link, link.on(Network())):
        with contextlib.suppress(LinkError):
            return link.ifname, backend.observe(each)
    return link.ifname, None


def networks_of(links: t.Mapping[str, tuple[NicLink, str]]) -> dict[str, Network]:
    """Return the networks that links are on, by the same keys. Each link comes with its interface's type.

    Ask once for all links of a type. Raises :class:`LinkError`.
    """
    found: dict[str, Network] = {}
    for kind in {kind for _link, kind in links.values()}:
        mine = {key: link for key, (link, other) in links.items() if other == kind}
        found.update(zip(mine, backend_of(kind).observe_all([*mine.values()])))
    return found
