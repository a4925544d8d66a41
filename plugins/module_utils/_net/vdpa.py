# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds vdpa devices of this host and their nodes. It changes nothing.

If the driver ``vhost_vdpa`` serves a vdpa device, the device's node is ``vhost-vdpa-<N>``, a child of the device in
sysfs. A vdpa device has no link on the host. Source: ``drivers/vhost/vdpa.c``.
"""

from __future__ import annotations

import os
import re
import typing as t

from .._device import VDPA_NODE
from .._errors import OptionError
from .._files import read_kernel_file

_DEVICES = "/sys/bus/vdpa/devices"
_DEV = "/dev/"
_NAME = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)


class VdpaDevice(t.NamedTuple):
    """A vdpa device: its name, the name of its node in /dev, and the node's number in the form of sysfs."""

    name: str
    node: str
    number: str

    @property
    def path(self) -> str:
        """Return the path of its node."""
        return f"{_DEV}{self.node}"


def find(source: str) -> VdpaDevice | None:
    """Find a device by its name or by its node's path. Return ``None`` if qemu cannot use such a device on this host."""
    node = source[len(_DEV) :] if source.startswith(_DEV) else None
    for name in [source] if node is None else _names():
        for child in _nodes_of(name):
            if node in (None, child):
                number = _number(name, child)
                return None if number is None else VdpaDevice(name, child, number)
    return None


def of_option(option: str, source: str) -> VdpaDevice:
    """Return the device that a task names. Raises :class:`OptionError`."""
    plain = source[len(_DEV) :] if source.startswith(_DEV) else source
    is_name = _NAME.fullmatch(plain) and plain not in (".", "..")
    if not is_name or (plain is not source and not VDPA_NODE.fullmatch(plain)):
        raise OptionError(
            option,
            f"{source!r} is neither the node of a vdpa device (/dev/vhost-vdpa-0) nor its name ('vdpa dev show' lists"
            " them)",
        )
    found = find(source)
    if found is None:
        raise OptionError(
            option,
            f"this host has no vdpa device {source} with a node; 'vdpa dev show' lists the devices, and the kernel module"
            " vhost_vdpa gives them their nodes /dev/vhost-vdpa-N",
        )
    return found


def _names() -> list[str]:
    try:
        return sorted(os.listdir(_DEVICES))
    except OSError:
        return []


def _nodes_of(name: str) -> list[str]:
    try:
        entries = sorted(os.listdir(f"{_DEVICES}/{name}"))
    except OSError:
        return []
    return [each for each in entries if VDPA_NODE.fullmatch(each)]


def _number(name: str, node: str) -> str | None:
    try:
        text = read_kernel_file(f"{_DEVICES}/{name}/{node}/dev").decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text.strip()
