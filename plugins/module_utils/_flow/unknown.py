# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A detach of something that nobody knows: most likely a typo, and a revocation with a typo must not be silent."""

from __future__ import annotations

import typing as t

from .._time import iso
from .._vm.vm import Vm


class Seen(t.NamedTuple):
    """What the host shows of a VM before a task changes anything: whether it runs or is noted, and its NICs."""

    vm: bool
    macs: frozenset[str]


def seen_of(vm: Vm) -> Seen:
    """Return what the host shows of a VM."""
    noted = vm.note.interfaces if vm.note is not None else {}
    return Seen(vm.running or vm.note is not None, frozenset({*vm.nics, *noted}))


def unknown_words(vm: Vm, seen: Seen, absent: t.Iterable[str]) -> list[str]:
    """Return a warning for a VM that nobody knows, or for each of the MACs ``absent`` that the VM never had.

    What was detached long ago is not unknown: the host's audit logs are asked where the host shows nothing of it.
    """
    missing = frozenset(absent) - seen.macs
    if seen.vm and not missing:
        return []
    # Most tasks need it not, and what reads logs takes a while to import.
    from .._log.known import look_up

    known = look_up(vm.uuid, vm.name, missing)
    logs = "there is no audit log on this host that can be read"
    if known.begin is not None:
        logs = f"no record of it is in this host's audit logs, which begin at {iso(known.begin)}"
    if not seen.vm and not known.vm:
        words = f"VM {vm.name} (uuid {vm.uuid}) is not known: none runs here, and {logs}. Nothing was detached"
        if known.namesakes:
            other = ", ".join(sorted(known.namesakes))
            return [f"{words}; a VM of that name has the uuid {other}: give it"]
        return [f"{words}; look at the name, the uuid and the host"]
    return [
        f"{mac} is not known: VM {vm.name} has no such NIC, and {logs}. Nothing was detached; look at the MAC"
        for mac in sorted(missing - known.macs)
    ]
