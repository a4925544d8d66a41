# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the signature of a head beside the trail file."""

from __future__ import annotations

import os

from .directory import TrailError, group_id, share
from .heads import Head, HeadError, sign

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_signature(head: Head, key: str, group: str | None) -> str:
    """Sign a head, and return the path of the signature. Raises :class:`HeadError`."""
    data, path = sign(key, head.head), f"{head.file}.sig"
    try:
        with open(os.open(path, _NEW, 0o600), "wb") as out:
            if group is not None:
                share(out.fileno(), group_id(group), 0o640)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except (OSError, TrailError) as exc:
        raise HeadError(f"the signature cannot be written: {exc}") from exc
    return path
