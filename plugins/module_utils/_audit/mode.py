# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much proof a record needs: the option ``audit``."""

from __future__ import annotations

import typing as t

# The strictest first.
Mode = t.Literal["required", "best_effort", "off"]
MODES: tuple[Mode, ...] = t.get_args(Mode)


def strictest(*modes: Mode) -> Mode:
    """Return the mode that asks for the most proof."""
    return min(modes, key=MODES.index)
