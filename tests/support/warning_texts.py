# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the warnings of a module's result."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping


def warning_texts(result: Mapping[str, t.Any]) -> list[str]:
    """Return the texts of the warnings. Before ansible-core 2.19, a warning is its text."""
    return [
        each if isinstance(each, str) else str(each["event"]["msg"])
        for each in result.get("warnings", [])
    ]
