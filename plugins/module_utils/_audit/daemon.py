# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit daemon's process: which one it is, whether it lives, which log it writes.

Sources: ``auditd(8)``, ``auditd.conf(5)``, ``proc(5)``.
"""

from __future__ import annotations

import os
import typing as t

from .._log.files import log_path, setting
from .._proc import stat_fields

_DIRECTORY = "/etc/audit"


class Daemon(t.NamedTuple):
    """A daemon that cannot be mistaken for a later one with the same pid.

    ``start_time`` is field 22 of /proc/<pid>/stat, in clock ticks since boot.
    """

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> Daemon | None:
        """Return the living daemon of a pid. A zombie is none: it writes nothing, and stays registered."""
        fields = stat_fields(pid)
        if fields is None or fields[0] in ("Z", "X"):
            return None
        return cls(pid, int(fields[19]))

    @property
    def configuration(self) -> str:
        """Return the path of its auditd.conf: it may have been started with ``-c DIRECTORY``."""
        words = self._words()
        for word, following in zip(words, [*words[1:], ""]):
            if word == "-c":
                return os.path.join(following, "auditd.conf")
            if word.startswith("-c"):
                return os.path.join(word[2:], "auditd.conf")
        return os.path.join(_DIRECTORY, "auditd.conf")

    def log(self) -> str | None:
        """Return the path of the log that it writes, ``None`` when its configuration says that it writes none."""
        configuration = self.configuration
        if setting("write_logs", configuration).lower() == "no":
            return None
        if setting("log_format", configuration).upper() == "NOLOG":
            return None
        return log_path(configuration)

    def _words(self) -> list[str]:
        try:
            with open(
                f"/proc/{self.pid}/cmdline", encoding="utf-8", errors="surrogateescape"
            ) as handle:
                return handle.read().split("\0")[1:]
        except OSError:
            return []
