# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out which VMs the name or the MAC of a question stands for."""

from __future__ import annotations

import dataclasses
import typing as t

from .boot import Boots
from .items import Item
from .newest import Newest
from .parse import Logged, is_root, macs_of, uuid_of
from .unread import Unread
from .wanted import Wanted

# A VM, by its UUID and its name. ``None`` is any name, because a copy of a VM may have its UUID.
Vm = tuple[str, t.Optional[str]]


@dataclasses.dataclass
class Resolved:
    """The VMs that a name or a MAC stands for.

    ``untrusted`` are the records about it that a user other than root sent, the newest first. ``since_boot``
    tells that the search went back only to the host's last boot.
    """

    vms: set[Vm] = dataclasses.field(default_factory=set)
    untrusted: list[Item] = dataclasses.field(default_factory=list)
    since_boot: bool = False


def resolve(newest: Newest) -> Resolved:
    """Find out which VMs the name or the MAC of a question stands for."""
    logs, wanted = newest.logs, newest.wanted
    found = Resolved()
    own = logs.names.own
    boots = Boots(newest.mark)
    unread = Unread()
    done = False
    for item in newest.of_question(unread):
        if item.node in own and boots.after(item):
            done = True
            if wanted.is_before(item):
                found.since_boot = True
                break
        if isinstance(item, Logged) and is_untrusted(item, wanted):
            found.untrusted.append(item)
        elif isinstance(item, Logged) and _speaks_of(item, wanted):
            uuid = uuid_of(item)
            if uuid:
                found.vms.add((uuid, item.record.fields.get("vm")))
                # A VM may have held the MAC since long before another VM got it.
                done = done or (wanted.mac is None and item.node in own)
        if done and wanted.is_before(item):
            break
    if not found.vms:
        # If there are VMs, the reading for the answer notes the same lines.
        logs.unread.add(unread)
    return found


def is_untrusted(logged: Logged, wanted: Wanted) -> bool:
    """Tell whether a user other than root sent a record of the VM's name or the MAC that the task asks for."""
    return not (is_root(logged) or wanted.uuid) and _speaks_of(logged, wanted)


def _speaks_of(logged: Logged, wanted: Wanted) -> bool:
    fields = logged.record.fields
    if wanted.name is not None and fields.get("vm") != wanted.name:
        return False
    return wanted.mac is None or wanted.mac in macs_of(logged)
