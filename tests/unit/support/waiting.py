# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for what another process does."""

from __future__ import annotations

import time
import typing as t

_SECONDS = 60


def wait_until(condition: t.Callable[[], bool]) -> None:
    """Return as soon as the condition holds. Fail the test if it does not hold within a minute."""
    until = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < until, condition
        time.sleep(0.02)
