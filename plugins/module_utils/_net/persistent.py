# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes a tap that this collection made and that somebody made persistent.

This collection makes no persistent tap. But any process that has a descriptor of a tap can make the tap persistent
without a capability. A guest that has broken out of its qemu can do this, too. Such a tap stays on its network when its
last descriptor is closed, and no process shows a descriptor that is on its way through a socket. When the kernel removes
the tap, every descriptor of it becomes useless. Source: ``drivers/net/tun.c``: TUNSETPERSIST, ``tun_detach_all()``.
"""

from __future__ import annotations

import typing as t

from .._errors import LinkError
from . import holdings, sysfs
from .holdings import Holding

if t.TYPE_CHECKING:
    from .._audit.auditor import Auditor
    from .._proc import Process


def find(ifindex: int | None) -> str | None:
    """Return the present name of the tap with an index if it is persistent.

    Only the index tells that it is the tap that a task made, because another tap can have the same name.
    """
    name = None if ifindex is None else sysfs.name_of(ifindex)
    return name if name is not None and sysfs.is_persistent(name) else None


def remove(ifindex: int | None) -> None:
    """Remove the tap with an index if it is persistent. Raises :class:`LinkError`.

    Call this only when no process shows a descriptor of the tap, because the main loop of a qemu that holds it would
    spin.
    """
    name = find(ifindex)
    if ifindex is not None and name is not None:
        from . import link

        link.remove_at(ifindex, name)


def wait_gone(
    ifname: str,
    ifindex: int | None,
    mac: str,
    auditor: Auditor,
    first: Process | None = None,
) -> Holding | None:
    """Wait a moment until nobody holds a link that this collection made. Return who still holds it, or ``None``.

    If the tap still exists then because somebody made it persistent, remove it, and let ``auditor`` warn of it. As long
    as such a tap exists, it counts as held. ``mac`` is that of its NIC. ``first`` is the VM's own process.
    """
    holding = holdings.wait_free(ifname, ifindex, first)
    if holding is not None:
        return holding
    if ifindex is None:
        return _unknown(ifname) if sysfs.is_persistent(ifname) else None
    name = find(ifindex)
    if name is None:
        return _joined(ifindex)
    try:
        remove(ifindex)
    except LinkError as exc:
        return Holding(name, problem=_stays(name, str(exc)))
    if sysfs.name_of(ifindex) is not None:
        return Holding(name, problem=_stays(name, "the kernel still has it"))
    auditor.warnings.append(
        f"somebody made the tap {name} of {mac} persistent, so that it would have stayed on its network without qemu. "
        "The task removed it, and every descriptor of it is useless now. Neither qemu nor this collection makes a tap "
        "persistent, so the VM's guest may have broken out of qemu. Look into the VM before you give it a NIC again"
    )
    return None


def _joined(ifindex: int) -> Holding | None:
    """Return that somebody holds a tap that is there and is not persistent, or ``None`` if it is gone.

    Nobody seemed to hold it, because it was persistent a moment ago. Only a process that has a descriptor of it changes
    that.
    """
    name = sysfs.name_of(ifindex)
    return Holding(name) if name is not None and sysfs.is_tun(name) else None


def _unknown(ifname: str) -> Holding:
    return Holding(
        ifname,
        problem=f"the tap {ifname} is persistent, and the task that was cut off has not noted whether it made this tap. "
        f"No process holds it. Remove it ('ip link delete {ifname}'), or rename it if another program needs it",
    )


def _stays(name: str, why: str) -> str:
    return (
        f"somebody made the tap {name} persistent, so it stays on its network although no process shows a descriptor "
        f"of it, and the task could not remove it: {why}. Remove it ('ip link delete {name}')"
    )
