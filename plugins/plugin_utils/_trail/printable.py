# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a text from outside harmless for a terminal.

This file needs nothing but Python, because the check of trails also runs without Ansible.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text without the characters that control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )
