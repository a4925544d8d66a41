# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out which VMs have had the name or the MAC of a question."""

from __future__ import annotations

import dataclasses
import typing as t

from .boot import Boots
from .items import Forged, Item
from .newest import Newest
from .parse import Logged, is_root, macs_of, uuid_of
from .unread import Unread
from .wanted import Wanted

# The UUID and the name of a VM. The name counts, because a copy of a VM may have its UUID. ``None`` is any name.
Vm = tuple[str, t.Optional[str]]


@dataclasses.dataclass
class Resolved:
    """The VMs that have had a name or a MAC.

    ``untrusted`` are the records about the name or the MAC, or about a boot, that a user other than root sent, the newest first.
    ``since_boot`` tells that the search went back only to the host's last boot before the time of the question.
    """

    vms: set[Vm] = dataclasses.field(default_factory=set)
    untrusted: list[Item] = dataclasses.field(default_factory=list)
    since_boot: bool = False


def resolve(newest: Newest) -> Resolved:
    """Find out which VMs have had the name or the MAC of a question."""
    logs, wanted = newest.logs, newest.wanted
    found = Resolved()
    own = logs.names.own
    boots = Boots(newest.mark)
    unread = Unread()
    done = False
    for item in newest.of_question(unread):
        if item.node in own and boots.after(item) and is_past(boots, wanted):
            found.since_boot = True
            break
        if isinstance(item, Forged) or (
            isinstance(item, Logged) and is_untrusted(item, wanted)
        ):
            found.untrusted.append(item)
        elif isinstance(item, Logged) and _speaks_of(item, wanted):
            uuid = uuid_of(item)
            if uuid:
                found.vms.add((uuid, item.record.fields.get("vm")))
                # The search for a MAC goes on, because another VM may have got the MAC much earlier.
                done = done or (wanted.mac is None and item.node in own)
        if done and wanted.is_before(item):
            break
    if not found.vms:
        # If there are VMs, the search for their records notes the same unread lines.
        logs.unread.add(unread)
    return found


def is_past(boots: Boots, wanted: Wanted) -> bool:
    """Tell whether a host booted before the time that a task asks for."""
    return boots.first is None or wanted.is_before(boots.first)


def is_untrusted(logged: Logged, wanted: Wanted) -> bool:
    """Tell whether a user other than root sent a record of the VM's name or the MAC that the task asks for."""
    return not (is_root(logged) or wanted.uuid) and _speaks_of(logged, wanted)


def _speaks_of(logged: Logged, wanted: Wanted) -> bool:
    fields = logged.record.fields
    if wanted.name is not None and fields.get("vm") != wanted.name:
        return False
    return wanted.mac is None or wanted.mac in macs_of(logged)
