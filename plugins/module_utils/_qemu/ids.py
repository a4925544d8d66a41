# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names that this collection gives to its objects in qemu. Pure."""

from __future__ import annotations

import re

from .._net.mac import compact

# The ids for the monitor of a VM that this collection starts.
MONITOR_ARGUMENT = "chardev=virtaudit,mode=control"
_PORT = "virtaudit-port"
_DEVICE_PATH = re.compile(r"/machine/peripheral/net-([0-9a-f]{12})")


def netdev_id(mac: str) -> str:
    """Return the id of the back end of a NIC."""
    return f"hostnet-{compact(mac)}"


def device_id(mac: str) -> str:
    """Return the id of the front end of a NIC."""
    return f"net-{compact(mac)}"


def port_id(number: int) -> str:
    """Return the id of a root port of a VM that this collection starts."""
    return f"{_PORT}{number}"


def is_own_port(port: str) -> bool:
    """Tell whether this collection made a root port, so that the port accepts a device while the VM runs."""
    return port.startswith(_PORT)


def queue_names(mac: str, count: int) -> list[str]:
    """Return the names of the fds of a NIC's queues.

    A name that starts with a digit would mean one of qemu's own fds.
    """
    return [f"vt{compact(mac)}-queue{number}" for number in range(count)]


def vhost_names(mac: str, count: int) -> list[str]:
    """Return the names of the fds of a NIC's vhost-net devices."""
    return [f"vt{compact(mac)}-vhost{number}" for number in range(count)]


def mac_of(path: str) -> str | None:
    """Return the MAC of a NIC that this collection made, from its QOM path, or ``None`` for a NIC of somebody else.

    The guest can rewrite the MAC that some models report, but it cannot change the id.
    """
    match = _DEVICE_PATH.fullmatch(path)
    return ":".join(re.findall("..", match.group(1))) if match else None
