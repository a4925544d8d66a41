# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names that this host's own records may carry, whatever ``name_format`` (``auditd.conf(5)``) is or was.

The daemon asks DNS for the full name and for the address. This module does not ask DNS, which may be slow and
may have another answer by now. Instead, every name that begins with the host's own name counts, and every
address of the host.
"""

from __future__ import annotations

import contextlib
import os

from .auditd_conf import setting


class OwnNodes:
    """Contains each name of this host. ``None`` is one of them, because records need not carry a name."""

    def __init__(self) -> None:
        self._name = os.uname().nodename.lower()
        self._known: dict[str | None, bool] = {None: True}
        self._addresses: frozenset[str] | None = None

    def __contains__(self, node: object) -> bool:
        if node is not None and not isinstance(node, str):
            return False
        # The code asks this for each record of a log, and there are few nodes.
        known = self._known.get(node)
        if known is None and node is not None:
            known = self._known[node] = self._is_own(node)
        return bool(known)

    def _is_own(self, node: str) -> bool:
        name = node.lower()
        short, _dot, domain = name.partition(".")
        if name in (self._name, self._name.partition(".")[0], setting("name").lower()):
            return True
        if domain and short == self._name:
            return True
        if self._addresses is None:
            self._addresses = _addresses()
        # Debian gives the host's name the address 127.0.1.1.
        return name in self._addresses or name.startswith("127.")


def _addresses() -> frozenset[str]:
    """Return the host's addresses (``proc(5)``)."""
    # The import is here because the addresses are needed only for a record with another name than
    # the host's.
    import socket

    found = set()
    with contextlib.suppress(OSError), open("/proc/net/if_inet6") as handle:
        for line in handle:
            packed = bytes.fromhex(line[:32])
            found.add(socket.inet_ntop(socket.AF_INET6, packed))
    with contextlib.suppress(OSError), open("/proc/net/fib_trie") as handle:
        prefix = ""
        for line in handle:
            words = line.split()
            if words[:1] == ["|--"]:
                prefix = words[1]
            elif words == ["/32", "host", "LOCAL"]:
                found.add(prefix)
    return frozenset(found)
