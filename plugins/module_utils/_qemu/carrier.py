# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets whether a guest's NIC has a carrier. Source: QMP ``set_link``, which cannot be read back."""

from __future__ import annotations

from .monitor import Monitor


def set_carrier(monitor: Monitor, path: str, up: bool) -> None:
    """Give a NIC a carrier, or take it away. ``path`` is the path of its device in qemu's object tree.

    Raises :class:`MonitorError`.
    """
    monitor.execute("set_link", {"name": path.rpartition("/")[2], "up": up})
