# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finishes an interrupted update, and records its outcome.

Either the link is on the new network already, or this code puts it back on the old network.
"""

from __future__ import annotations

import typing as t

from .._errors import LinkError, MonitorError
from .._vm.nic_network import put_on, show_carrier

if t.TYPE_CHECKING:
    from .._audit.auditor import Auditor
    from .._audit.messages import Messages
    from .._vm.note import NicNote
    from .._vm.vm import Vm


def settle_update(
    vm: Vm, nic: NicNote, done: bool, auditor: Auditor, messages: Messages
) -> str | None:
    """Record an update as done, or put the link back and record the update as failed.

    No record is written a second time. If a side of the NIC could not be set, return in words which one and why. Then
    the update stays noted.
    """
    link, after = nic.link, nic.updating
    if after is None:
        return None
    before = link.network
    now, problem = (after, None) if done else (before, None)
    try:
        if done:
            # Nobody knows whether the guest saw it.
            show_carrier(vm, nic.mac, before, after)
        else:
            put_on(vm, nic, link.on(after), before)
    except LinkError as exc:
        problem = f"its link could not be put back: {exc}"
    except MonitorError as exc:
        problem = f"the carrier that its guest sees could not be set: {exc}"
    changes = before.changes(after)
    records = messages.net_updates(nic.mac, nic.ifname, before, after, done)
    for change, record in zip(changes, records):
        if not vm.history.has_update(nic.mac, change, done):
            auditor.write(record)
    auditor.prove()
    if problem is None:
        nic.put_on(now)
    return problem
