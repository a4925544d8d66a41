# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names that records of this host carry, by name_format: none, hostname, fqd, numeric and user."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._log import nodes
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.nodes import (
    OwnNodes,
)


@pytest.mark.parametrize(
    ("host", "own", "others"),
    [
        (
            "hv1",
            [None, "hv1", "HV1", "hv1.example.com", "127.0.1.1", "site-a", "10.0.0.5"],
            ["hv", "hv10", "hv2", "hv2.example.com", "hv1.", "10.0.0.6", "site-b"],
        ),
        (
            "hv1.example.com",
            ["hv1", "hv1.example.com"],
            ["hv1.example.org", "hv2.example.com"],
        ),
    ],
)
def test_own(
    host: str,
    own: list[str | None],
    others: list[str],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configuration = path.parents[1] / "auditd.conf"
    configuration.write_text("name_format = user\n##name = other\nname = Site-A\n")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=host))
    monkeypatch.setattr(nodes, "_addresses", lambda: frozenset(("10.0.0.5", "fd00::1")))
    found = OwnNodes()
    assert [node for node in (*own, *others) if node in found] == own
    # Once more, now from its memory.
    assert [node for node in (*own, *others) if node in found] == own


def test_addresses_of_this_host() -> None:
    found = nodes._addresses()
    assert "127.0.0.1" in found
    assert "127.0.0.0" not in found
    for address in found:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        assert socket.inet_ntop(family, socket.inet_pton(family, address)) == address
    assert os.uname().nodename in OwnNodes()
