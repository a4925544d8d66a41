# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process of the audit daemon: which process it is, whether it lives, and which log it writes.

Sources: ``auditd(8)``, ``auditd.conf(5)``, ``proc(5)``.
"""

from __future__ import annotations

import os

from .._log.auditd_conf import log_path, setting
from .._proc import Process

_DIRECTORY = "/etc/audit"


class Daemon(Process):
    """The audit daemon. A zombie does not count, because it writes nothing, although it stays registered."""

    @property
    def configuration(self) -> str:
        """Return the path of its auditd.conf. Somebody may have started it with ``-c DIRECTORY``."""
        words = self.command_line()[1:]
        for word, following in zip(words, [*words[1:], ""]):
            if word == "-c":
                return os.path.join(following, "auditd.conf")
            if word.startswith("-c"):
                return os.path.join(word[2:], "auditd.conf")
        return os.path.join(_DIRECTORY, "auditd.conf")

    def log(self) -> str | None:
        """Return the path of the daemon's log, or ``None`` if its configuration says that it writes no log."""
        configuration = self.configuration
        if setting("write_logs", configuration).lower() == "no":
            return None
        if setting("log_format", configuration).upper() == "NOLOG":
            return None
        return log_path(configuration)
