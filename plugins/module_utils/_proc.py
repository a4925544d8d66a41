# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What proc(5) tells of a process, in the form that several parts need."""

from __future__ import annotations

import errno

# What says nothing of the file that was asked for: the task, or the host, is out of something.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def raise_exhausted(exc: OSError) -> None:
    """Raise an error again that must not be taken for "there is no such file".

    A process that cannot be looked at for want of a file descriptor has not ended.
    """
    if exc.errno in _EXHAUSTED:
        raise exc


def stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third (the state) on, ``None`` without such a process.

    Raises :class:`OSError` when the host is out of file descriptors or memory.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            # The command's name may hold blanks and brackets: fields start after the last one.
            return handle.read().rpartition(b")")[2].decode("ascii").split()
    except OSError as exc:
        raise_exhausted(exc)
    except UnicodeDecodeError:
        pass
    return None
