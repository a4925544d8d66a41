# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stays on the host of an interface when its last descriptor is closed: its macvtap, the rules of its filter."""

from __future__ import annotations

from .._errors import LinkError
from .._net import holdings
from .._net.backends import backend_of
from .note import NicNote


def has_remains(nic: NicNote) -> bool:
    """Tell whether something that was made for an interface is there, and nobody holds it."""
    return _is_there(nic) and holdings.holder_of(nic.ifname, nic.ifindex) is None


def _is_there(nic: NicNote) -> bool:
    return nic.made and backend_of(nic.type).remains(nic.link)


def remove_remains(nic: NicNote, free: bool = False) -> None:
    """Remove what is left of an interface that nobody holds. A tap goes with its last fd.

    ``free``: that nobody holds it has just been found. Raises :class:`LinkError`; the interface must
    stay noted then, for the next task to remove it.
    """
    if not (_is_there(nic) if free else has_remains(nic)):
        return
    backend = backend_of(nic.type)
    try:
        backend.remove(nic.link)
    except LinkError as exc:
        raise LinkError(
            f"{exc}. It is {backend.left} of {nic.mac}; that qemu has none of its devices is on record, and nobody"
            " holds what is left. Run the task again to remove it"
        ) from exc
