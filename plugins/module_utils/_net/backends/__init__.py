# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of link that a NIC can have, by the option ``type``: one class each, with the same steps."""

from __future__ import annotations

import contextlib
import functools
import typing as t

from ..._device import Device
from ..._errors import LinkError

if t.TYPE_CHECKING:
    from .base import Backend


@functools.cache
def backend_of(kind: str) -> Backend:
    """Return the back end of a type of interface."""
    # The imports are here because each takes time, and most tasks need only one back end.
    if kind == "bridge":
        from .bridge import Bridge

        return Bridge()
    if kind == "direct":
        from .direct import Direct

        return Direct()
    if kind == "openvswitch":
        from .openvswitch import OpenVSwitch

        return OpenVSwitch()
    if kind == "vdpa":
        from .vdpa import Vdpa

        return Vdpa()
    raise KeyError(kind)


def kind_of(device: Device, noted: str | None) -> str:
    """Return the type of the interface that an open queue belongs to.

    ``noted`` is the type that the VM's note gives, if it has a note.
    """
    if device.is_vdpa:
        return "vdpa"
    if not device.is_tap:
        return "direct"
    if noted is not None and noted not in ("direct", "vdpa"):
        return noted
    from ..ovsdb import is_installed

    if device.dev is not None and is_installed():
        with contextlib.suppress(LinkError):
            if backend_of("openvswitch").source_of(device.dev) is not None:
                return "openvswitch"
    return "bridge"
