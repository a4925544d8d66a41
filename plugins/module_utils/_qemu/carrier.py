# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets whether a guest's NIC has a carrier. Source: QMP ``set_link``, which cannot be read back."""

from __future__ import annotations

from .monitor import Monitor
from .nics import FrontEnd, has_id


def name_of(front_end: FrontEnd) -> str:
    """Return the name by which ``set_link`` finds a NIC.

    It knows no NIC without an id. It takes the name of the back end too, and sets the carrier of the NIC in front of it.
    """
    return front_end.path.rpartition("/")[2] if has_id(front_end) else front_end.netdev


def set_carrier(monitor: Monitor, name: str, up: bool) -> None:
    """Give a NIC a carrier, or take it away. ``name`` is the id of its device or of its back end.

    Raises :class:`MonitorError`.
    """
    monitor.execute("set_link", {"name": name, "up": up})
