# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes files on the controller that are there as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import typing as t

# The directory may be one that others can write to, such as /tmp. Their files and links are not used.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def written_whole(path: str, mode: int, errors: str = "strict") -> t.Iterator[t.TextIO]:
    """Write a text file beside ``path``, and move it there at the end. After an error the old file stays.

    ``mode`` is the mode of a new file. ``errors`` says how to write text that UTF-8 cannot hold. Line ends are not
    changed. Raises :class:`OSError`.
    """
    part = f"{path}.{secrets.token_hex(8)}.part"
    fd = os.open(part, _NEW, mode)
    try:
        with open(fd, "w", encoding="utf-8", errors=errors, newline="") as out:
            yield out
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
