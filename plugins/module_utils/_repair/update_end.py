# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finishes an interrupted update, and records its outcome.

Either the link is on the new network already, or this code puts it back on the old network.
"""

from __future__ import annotations

import typing as t

from .._vm.nic_network import put_back, try_carrier
from .nic_end import follow_rename

if t.TYPE_CHECKING:
    from .._audit.auditor import Auditor
    from .._audit.messages import Messages
    from .._vm.note import NicNote
    from .._vm.vm import Vm


def settle_update(
    vm: Vm, nic: NicNote, done: bool, auditor: Auditor, messages: Messages
) -> list[str]:
    """Record an update as done, or put the link back and record the update as failed.

    No record is written a second time. If a side of the NIC could not be set, return in words which one and why. Then
    the update stays noted.
    """
    follow_rename(nic)
    link, after = nic.link, nic.updating
    if after is None:
        return []
    before = nic.before_update
    if done:
        # Nobody knows whether the guest saw it.
        problems = try_carrier(vm, nic.mac, link.network, after)
    else:
        problems = put_back(vm, nic, link.on(after), nic.former)
    changes = before.changes(after)
    records = messages.net_updates(nic.mac, nic.ifname, before, after, done)
    for change, record in zip(changes, records):
        if not vm.history.has_update(nic.mac, change, done):
            auditor.write(record)
    auditor.prove()
    if not problems and done:
        nic.put_on(after)
    elif not problems:
        nic.end_update()
    return problems
