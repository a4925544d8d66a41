# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finishes an interface that a task has left: makes the records of its end, and removes what is left of it."""

from __future__ import annotations

import typing as t

from .._errors import LinkError
from .._net import holdings, persistent, sysfs
from .._net.backends import backend_of

if t.TYPE_CHECKING:
    from .._audit.auditor import Auditor
    from .._audit.messages import Messages
    from .._audit.record import Record
    from .._net.holdings import Holding
    from .._proc import Process
    from .._vm.history import NicHistory
    from .._vm.note import NicNote


def nic_end_records(
    nic: NicNote, on_record: NicHistory, grant: str, messages: Messages
) -> list[Record]:
    """Return the records that say that qemu no longer holds an interface: the detach or the failed ``grant``,
    and each close.

    Leave out those that are ``on_record`` already.
    """
    records = []
    if on_record.granted:
        records.append(messages.net_detach(nic.mac, success=True))
    elif not on_record.settled:
        from .._net.network import network_of

        on = network_of(nic.link, nic.type)
        records.append(messages.net_grant(grant, nic.mac, [], False, *on))
    return records + [
        messages.net_close(nic.mac, opened, opened.fd)
        for opened in on_record.outstanding
    ]


def wait_free(
    nic: NicNote, auditor: Auditor, first: Process | None = None
) -> Holding | None:
    """Wait a moment until nobody holds an interface's devices. Return who still holds them, or ``None``.

    Only after this may a task write the records of the interface's end. If this collection made its tap and somebody made
    the tap persistent, remove the tap, and let ``auditor`` warn of it. ``first`` is the VM's own process.
    """
    if nic.made:
        return persistent.wait_gone(nic.ifname, nic.ifindex, nic.mac, auditor, first)
    return holdings.wait_free(nic.ifname, nic.ifindex, first)


def has_remains(nic: NicNote, free: bool = False) -> bool:
    """Tell whether something is left that a task made for an interface and that nobody holds.

    If a switch or nftables does not tell, something may be left. ``free`` tells that the caller has just found that nobody
    holds it.
    """
    backend = backend_of(nic.type)
    try:
        there = nic.made and any(backend.remains(link) for link in nic.links)
    except LinkError:
        there = True
    return there and (free or holdings.holder_of(nic.ifname, nic.ifindex) is None)


def link_of(nic: NicNote) -> tuple[str | None, str | None]:
    """Return the present name of an interface's link, and its source, with ``None`` for what does not exist.

    A link keeps its index when somebody renames it. If a switch does not answer, the source is the noted one.
    """
    name = nic.ifname if nic.ifindex is None else sysfs.name_of(nic.ifindex)
    if name is None or not sysfs.exists(name):
        return None, None
    try:
        return name, backend_of(nic.type).source_of(name)
    except LinkError:
        return name, nic.source


def follow_rename(nic: NicNote) -> None:
    """Note the present name of an interface's link, because somebody may have renamed it."""
    nic.ifname = link_of(nic)[0] or nic.ifname


def is_updated(nic: NicNote) -> bool:
    """Tell whether the kernel says that an interface's link is on the network of an update."""
    if nic.updating is None or not sysfs.is_same(nic.ifname, nic.ifindex):
        return False
    backend, link = backend_of(nic.type), nic.link.on(nic.updating)
    try:
        found = backend.observe(link)
        return not found.changes(nic.updating) and not backend.left_of(link, nic.link)
    except LinkError:
        return False


def remove_remains(nic: NicNote, free: bool = False) -> None:
    """Remove what is left of an interface that nobody holds.

    The kernel removes a tap with its last descriptor, unless the tap is persistent. ``free`` tells that the caller has
    just found that nobody holds it. Raises :class:`LinkError`. In this case the interface must stay noted, so that the
    next task removes it.
    """
    if not has_remains(nic, free):
        return
    backend = backend_of(nic.type)
    try:
        for link in nic.links:
            backend.remove(link)
    except LinkError as exc:
        raise LinkError(
            f"{exc}. It is {backend.left} of {nic.mac}. The records say that qemu has none of its devices, and nobody "
            "holds it. Run the task again to remove it"
        ) from exc


def try_remove_remains(nic: NicNote, free: bool) -> str | None:
    """Do the same for a task that goes on without it. Return why it failed."""
    try:
        remove_remains(nic, free)
    except LinkError as exc:
        return str(exc)
    return None
