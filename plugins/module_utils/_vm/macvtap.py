# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The macvtap that was made for an interface: it stays when its last fd is closed, as a tap does not."""

from __future__ import annotations

from .._errors import LinkError
from .._net import holdings, link, sysfs
from .note import NicNote


def has_link(nic: NicNote) -> bool:
    """Tell whether the macvtap that was made for an interface is there, and nobody holds it."""
    return _is_there(nic) and holdings.holder_of(nic.ifname, nic.ifindex) is None


def _is_there(nic: NicNote) -> bool:
    name = nic.ifname
    if nic.type != "direct" or not nic.made or sysfs.macvtap_rdev(name) is None:
        return False
    if sysfs.lower(name) != nic.source:
        return False
    if nic.ifindex is not None:
        return sysfs.ifindex(name) == nic.ifindex
    # The index is not known when a task was cut off between making the link and noting it. In mode passthrough the
    # kernel makes it with the lower device's MAC.
    return nic.mode == "passthrough" or sysfs.address(name) == nic.mac


def remove_link(nic: NicNote, free: bool = False) -> None:
    """Remove the macvtap of an interface that nobody holds. A tap goes with its last fd.

    ``free``: that nobody holds it has just been found. Raises :class:`LinkError`; the interface must
    stay noted then, for the next task to remove it.
    """
    if not (_is_there(nic) if free else has_link(nic)):
        return
    try:
        link.remove(nic.ifname)
    except LinkError as exc:
        raise LinkError(
            f"{exc}. It is the macvtap of {nic.mac}; that qemu has none of its devices is on record, and nobody"
            " holds what is left. Run the task again to remove it"
        ) from exc
