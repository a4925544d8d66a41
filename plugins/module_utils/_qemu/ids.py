# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names in qemu of what this collection gives it. Pure."""

from __future__ import annotations

import re

from .._net.interface import compact

# The ids of the monitor of a VM that this collection starts.
MONITOR_ARGUMENT = "chardev=virtaudit,mode=control"
_DEVICE_PATH = re.compile(r"/machine/peripheral/net-([0-9a-f]{12})")


def netdev_id(mac: str) -> str:
    """Return the id of the back end of a NIC."""
    return f"hostnet-{compact(mac)}"


def device_id(mac: str) -> str:
    """Return the id of the front end of a NIC."""
    return f"net-{compact(mac)}"


def queue_names(mac: str, count: int) -> list[str]:
    """Return the names of the fds of a NIC's queues. One that starts with a digit would mean one of qemu's own fds."""
    return [f"vt{compact(mac)}-queue{number}" for number in range(count)]


def vhost_names(mac: str, count: int) -> list[str]:
    """Return the names of the fds of a NIC's vhost-net devices."""
    return [f"vt{compact(mac)}-vhost{number}" for number in range(count)]


def mac_of(path: str) -> str | None:
    """Return the MAC of a NIC that this collection made, by its QOM path; ``None`` for somebody else's.

    The guest can rewrite the MAC that some models report. It cannot change the id.
    """
    match = _DEVICE_PATH.fullmatch(path)
    return ":".join(re.findall("..", match.group(1))) if match else None
