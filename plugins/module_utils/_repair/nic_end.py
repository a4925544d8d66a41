# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host shows of an interface that a task has left, and its end: the records of it, and what is removed then."""

from __future__ import annotations

import typing as t

from .._errors import LinkError
from .._net import holdings, sysfs
from .._net.backends import backend_of

if t.TYPE_CHECKING:
    from .._audit.auditor import Auditor
    from .._audit.messages import Messages
    from .._audit.record import Record
    from .._net.nic_link import NicLink
    from .._vm.history import NicHistory
    from .._vm.note import NicNote


def record_nic_end(
    nic: NicNote,
    on_record: NicHistory,
    grant: str,
    auditor: Auditor,
    messages: Messages,
) -> None:
    """Record that qemu holds nothing of an interface any more. What is ``on_record`` is not written again."""
    auditor.together(nic_end_records(nic, on_record, grant, messages))


def nic_end_records(
    nic: NicNote, on_record: NicHistory, grant: str, messages: Messages
) -> list[Record]:
    """Return the missing records of the end of an interface: of its detach, or its failed ``grant``, and of each close."""
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


def has_remains(nic: NicNote) -> bool:
    """Tell whether something is left that was made for an interface and that nobody holds."""
    return _is_there(nic) and holdings.holder_of(nic.ifname, nic.ifindex) is None


def link_of(nic: NicNote) -> tuple[str | None, str | None]:
    """Return the name that the link of an interface has now, and what it is on; ``None`` for what is not there.

    A link keeps its index when it is renamed.
    """
    name = nic.ifname if nic.ifindex is None else sysfs.name_of(nic.ifindex)
    if name is None or not sysfs.exists(name):
        return None, None
    return name, backend_of(nic.type).source_of(name)


def is_updated(nic: NicNote) -> bool:
    """Tell whether the kernel has the link of an interface on the network that an update was to put it on."""
    if nic.updating is None:
        return False
    try:
        found = backend_of(nic.type).observe(nic.link.on(nic.updating))
    except LinkError:
        return False
    return not found.changes(nic.updating)


def _is_there(nic: NicNote) -> bool:
    backend = backend_of(nic.type)
    return nic.made and any(backend.remains(link) for link in _links(nic))


def _links(nic: NicNote) -> list[NicLink]:
    """Return the link of an interface as it was, and as an update that was cut off may have left it."""
    return [
        nic.link.on(network)
        for network in (nic.link.network, nic.updating)
        if network is not None
    ]


def remove_remains(nic: NicNote, free: bool = False) -> None:
    """Remove what is left of an interface that nobody holds. A tap goes with its last fd.

    ``free``: that nobody holds it has just been found. Raises :class:`LinkError`; the interface must
    stay noted then, for the next task to remove it.
    """
    if not (_is_there(nic) if free else has_remains(nic)):
        return
    backend = backend_of(nic.type)
    try:
        for link in _links(nic):
            backend.remove(link)
    except LinkError as exc:
        raise LinkError(
            f"{exc}. It is {backend.left} of {nic.mac}; that qemu has none of its devices is on record, and nobody"
            " holds what is left. Run the task again to remove it"
        ) from exc
