# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the modules of the controller share. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Modules that make something of the answers of many hosts."""

    DOCUMENTATION = r"""
attributes:
  action:
    support: full
    description: Runs on the controller only.
  check_mode:
    support: full
    description: Checks the options and writes nothing.
options:
  hosts:
    description: The hosts that were asked, by their names in the inventory.
    type: list
    elements: str
    required: true
"""
