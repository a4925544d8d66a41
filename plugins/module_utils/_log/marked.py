# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boots that the journal marks between its entries. A mark has no number, and names no host. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from .items import Boot, Item, serial_of
from .parse import Logged


def is_marked(item: Item) -> bool:
    """Tell whether the journal says that the host booted, and no record of the kernel with a number."""
    return isinstance(item, Boot) and not serial_of(item.event)


def with_hosts(items: t.Iterable[Item]) -> t.Iterator[Item]:
    """Yield the records of a log. Give each boot without a host the host of the next record of a VM, or else of the last one."""
    boots: list[Boot] = []
    node: str | None = None
    for item in items:
        if isinstance(item, Boot) and item.node is None and is_marked(item):
            boots.append(item)
            continue
        # When a host boots, it may not have its name yet.
        if isinstance(item, Logged):
            node = item.node
            yield from _of_host(boots, node)
            boots = []
        yield item
    yield from _of_host(boots, node)


def _of_host(boots: t.Iterable[Boot], node: str | None) -> t.Iterator[Boot]:
    return (dataclasses.replace(boot, node=node) for boot in boots)
