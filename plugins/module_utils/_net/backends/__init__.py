# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of link that a NIC can have, by the option ``type``: one class each, with the same steps."""

from __future__ import annotations

from .base import Backend
from .bridge import Bridge
from .direct import Direct

_BACKENDS: dict[str, Backend] = {each.kind: each for each in (Bridge(), Direct())}

__all__ = ["Backend", "backend_of"]


def backend_of(kind: str) -> Backend:
    """Return the back end of a type of interface."""
    return _BACKENDS[kind]
