# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The network of a NIC, in words. Pure."""

from __future__ import annotations

from .answer import Data


def network_text(grant: Data) -> str:
    """Return what a NIC is on as one text."""
    network = grant.get("network") or {}
    words = [str(network["source"])] if network.get("source") else []
    words += [
        f"{name} {network[name]}"
        for name in ("vlan", "filter", "link")
        if network.get(name) is not None
    ]
    if network.get("isolated"):
        words.append("isolated")
    return ", ".join(words)
