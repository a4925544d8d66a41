# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tar archives of logs, packed or not, as ``sosreport(1)`` makes them."""

from __future__ import annotations

import contextlib
import os

from .files import LogFile

_MAGIC = slice(257, 262)
_COPY_BYTES = 1 << 20


def is_archive(log: LogFile) -> bool:
    """Tell from the beginning of a file whether it is a tar archive."""
    return log.head()[_MAGIC] == b"ustar"


def members(log: LogFile, stack: contextlib.ExitStack) -> list[LogFile]:
    """Return the files in an archive, each as a log. They live as long as ``stack``.

    Raises :class:`OSError` when the archive is broken, or there is no room to unpack it.
    """
    # The import is here, and not at the top, because few logs are in an archive.
    import tarfile

    whole = _unpacked(log, stack) if log.compressed else log
    found = []
    with open(os.dup(whole.fd()), "rb") as raw:
        raw.seek(0)
        try:
            with tarfile.open(fileobj=raw, mode="r:") as archive:
                for member in archive:
                    if member.isreg() and member.size:
                        part = whole.part(
                            f"{log.path}:{member.name}",
                            member.offset_data,
                            member.size,
                            member.mtime or log.clock.written(),
                        )
                        stack.callback(part.close)
                        found.append(part)
        except tarfile.TarError as exc:
            raise OSError(str(exc)) from exc
    return found


def _unpacked(log: LogFile, stack: contextlib.ExitStack) -> LogFile:
    """Unpack an archive to a file without a name."""
    import tempfile

    handle = tempfile.TemporaryFile()  # noqa: SIM115 # closed with the stack
    stack.callback(handle.close)
    for block in log.blocks(_COPY_BYTES):
        handle.write(block)
    handle.flush()
    whole = LogFile(f"/proc/self/fd/{handle.fileno()}")
    stack.callback(whole.close)
    return whole
