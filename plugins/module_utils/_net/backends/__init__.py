# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of link that a NIC can have, by the option ``type``: one class each, with the same steps."""

from __future__ import annotations

import functools
import typing as t

if t.TYPE_CHECKING:
    from .base import Backend


@functools.cache
def backend_of(kind: str) -> Backend:
    """Return the back end of a type of interface."""
    # Each task compiles what it imports, and most have one kind only.
    if kind == "bridge":
        from .bridge import Bridge

        return Bridge()
    if kind == "direct":
        from .direct import Direct

        return Direct()
    raise KeyError(kind)
