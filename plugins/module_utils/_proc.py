# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What proc(5) tells of a process, in the form that several parts need."""

from __future__ import annotations


def stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third (the state) on, ``None`` without such a process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            # The command's name may hold blanks and brackets: fields start after the last one.
            return handle.read().rpartition(b")")[2].decode("ascii").split()
    except (OSError, UnicodeDecodeError):
        return None
