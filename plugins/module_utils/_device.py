# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A network device that was opened, as a task, the trail or /proc shows it. Pure.

Source: ``Documentation/admin-guide/devices.txt`` for the device numbers.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

TUN_PATH = "/dev/net/tun"
VHOST_NET_PATH = "/dev/vhost-net"
TUN_RDEV = os.makedev(10, 200)
VHOST_NET_RDEV = os.makedev(10, 238)
# The name of a vdpa device's node below /dev, which is also the kernel's name of the character device.
VDPA_NODE = re.compile(r"vhost-vdpa-[0-9]+", re.ASCII)


@dataclasses.dataclass
class Device:
    """A device that was opened for one interface. ``rdev`` is ``MAJOR:MINOR`` in hex, in libvirt's way.

    ``dev`` is the tap or macvtap that it serves, or ``None`` as long as it serves none. ``fd`` is the
    descriptor in the process that holds it. ``event`` is the id of its open record. ``path``, ``rdev`` and
    ``fd`` are ``None`` if the trail does not have them.
    """

    path: str | None
    rdev: str | None
    dev: str | None
    fd: int | None
    event: str | None = None

    @property
    def is_vhost(self) -> bool:
        """Tell whether it is vhost-net, which has no link of its own."""
        return self.path == VHOST_NET_PATH or self.rdev == format_rdev(VHOST_NET_RDEV)

    @property
    def is_tap(self) -> bool:
        """Tell whether it is a queue of a tap, and neither a queue of a macvtap nor vhost-net."""
        return self.path == TUN_PATH or (
            self.rdev == format_rdev(TUN_RDEV) and not self.is_vhost
        )

    @property
    def is_vdpa(self) -> bool:
        """Tell whether it is a vdpa device. Its major number is not fixed, so its names decide."""
        if self.is_tap or self.path is None or self.path.startswith("/dev/tap"):
            return False
        if self.is_vhost:
            # Its link can have any name.
            return False
        names = (self.dev or "", self.path.rpartition("/")[2])
        return any(map(VDPA_NODE.fullmatch, names))

    def fileno(self) -> int:
        """Return the descriptor of a device that is open. Raises :class:`ValueError` if the trail does not have it."""
        if self.fd is None:
            raise ValueError(f"the descriptor of {self.path} is not known")
        return self.fd

    def result(self) -> dict[str, str | int | None]:
        """Return the modules' value for the device."""
        return dict(vars(self))


def format_rdev(rdev: int) -> str:
    """Return a device number in the form of libvirt's records, ``0A:C8``."""
    return f"{os.major(rdev):02X}:{os.minor(rdev):02X}"


def format_number(number: str) -> str:
    """Convert a device number from sysfs's form (``10:200``) to the form of libvirt's records."""
    major, minor = map(int, number.split(":"))
    return format_rdev(os.makedev(major, minor))


def fds_of(devices: t.Iterable[Device]) -> list[int]:
    """Return the known descriptors of devices, in the order of the devices."""
    return [opened.fd for opened in devices if opened.fd is not None]
