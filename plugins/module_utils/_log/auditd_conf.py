# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of this host's audit daemon: ``auditd.conf(5)``."""

from __future__ import annotations

_CONFIGURATION = "/etc/audit/auditd.conf"
_DEFAULT_LOG = "/var/log/audit/audit.log"


def log_path(configuration: str | None = None) -> str:
    """Return the audit daemon's log file on this host."""
    return setting("log_file", configuration) or _DEFAULT_LOG


def setting(name: str, configuration: str | None = None) -> str:
    """Return an option of the audit daemon on this host (``auditd.conf(5)``), or an empty text if its file does
    not set it.

    If an option is given twice, the daemon takes the last one.
    """
    found = ""
    try:
        with open(
            configuration or _CONFIGURATION, encoding="utf-8", errors="replace"
        ) as handle:
            for line in handle:
                key, _equals, value = line.partition("=")
                words = value.split()
                if words and key.strip().lower() == name:
                    found = words[0]
    except OSError:
        return ""
    return found
