# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records as lines of an audit log, as auditd writes them."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.module_utils._log.items import (
    Boot,
    Item,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import Logged


def line_of(item: Item) -> str:
    """Return the line of a record. It is enriched if the user's name is given."""
    node = f"node={item.node} " if item.node else ""
    if isinstance(item, Boot):
        return f"{node}type=SYSTEM_BOOT msg=audit({item.event}): pid=1 uid=0 msg='x'\n"
    if not isinstance(item, Logged):
        raise TypeError(item)
    names = f'\x1dUID="{item.user}"' if item.user else ""
    return (
        f"{node}type={item.record.type} msg=audit({item.event}): pid={item.pid} uid={item.uid} auid={item.auid}"
        f" ses={item.ses} msg='{item.record.text()}'{names}\n"
    )


def write_log(path: Path, items: t.Iterable[Item]) -> str:
    """Write a log, with records of others between the given ones. Return its path."""
    noise = "{}type=USER msg=audit({}): pid=1 uid=0 auid=0 ses=1 msg='text=\"VIRT_\"'\n"
    lines = [
        noise.format(f"node={item.node} " if item.node else "", item.event)
        + line_of(item)
        for item in items
    ]
    path.write_text("".join(lines))
    return str(path)


def noise(
    begin: int, serial: int, count: int, node: str = "", kind: str = "USER"
) -> str:
    """Return records of other programs, one for each second, with 100 bytes or more each."""
    return "".join(
        f"{node}type={kind} msg=audit({begin + each}.000:{serial + each}): {'x' * 100}\n"
        for each in range(count)
    )
