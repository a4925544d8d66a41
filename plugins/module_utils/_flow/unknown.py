# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warns of a detach of something that nobody knows.

It is most likely a typo, and a revocation with a typo must not be silent.
"""

from __future__ import annotations

import typing as t

from .._time import iso
from .._vm.vm import Vm


class Seen(t.NamedTuple):
    """What the host shows of a VM before a task changes anything: whether the VM runs or is noted, and its NICs."""

    vm: bool
    macs: frozenset[str]


def seen_of(vm: Vm) -> Seen:
    """Return what the host shows of a VM."""
    noted = vm.note.interfaces if vm.note is not None else {}
    return Seen(vm.running or vm.note is not None, frozenset({*vm.nics, *noted}))


def unknown_words(vm: Vm, seen: Seen, absent: t.Iterable[str]) -> list[str]:
    """Return a warning for a VM that nobody knows, or for each of the MACs ``absent`` that the VM never had.

    A NIC that was detached long ago is not unknown. So if the host does not show a NIC, look into the host's
    audit logs.
    """
    missing = frozenset(absent) - seen.macs
    if seen.vm and not missing:
        return []
    # The import is here because most tasks do not need it, and the code that reads logs takes a
    # while to import.
    from .._log.known import look_up

    known = look_up(vm.uuid, vm.name, missing)
    logs = "this host has no readable audit log"
    if known.begin is not None:
        logs = f"no record of it is in this host's audit logs, which begin at {iso(known.begin)}"
    if not seen.vm and not known.vm:
        words = f"VM {vm.name} (uuid {vm.uuid}) is unknown: no such VM runs here, and {logs}. Nothing was detached"
        if known.namesakes:
            other = ", ".join(sorted(known.namesakes))
            return [
                f"{words}; a VM with that name has the uuid {other}, so give that uuid"
            ]
        return [f"{words}; check the name, the uuid and the host"]
    return [
        f"{mac} is unknown: VM {vm.name} has no such NIC, and {logs}. Nothing was detached; check the MAC"
        for mac in sorted(missing - known.macs)
    ]
