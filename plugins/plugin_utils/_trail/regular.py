# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens a file of a trail directory, if it is a regular file.

This file needs nothing but Python, because the check of trails also runs without Ansible.
"""

from __future__ import annotations

import errno
import os
import stat

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: str, directory: int | None = None) -> int:
    """Return a descriptor of a regular file. Raises :class:`OSError`.

    It follows no link. It does not wait for the other end of a FIFO.
    """
    fd = os.open(path, _FLAGS, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return fd
