# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends the head of a run to the journal or to syslog, apart from the trail's files."""

from __future__ import annotations

import os
import socket
import stat
import typing as t

from .heads import TAG, Head

Kind = t.Literal["none", "syslog", "journal"]

# systemd.journal-fields(7) and the native protocol; syslog(3).
JOURNAL = "/run/systemd/journal/socket"
SYSLOG = "/dev/log"
# LOG_AUTHPRIV | LOG_NOTICE
_PRIORITY = 10 << 3 | 5


class AnchorError(Exception):
    """The head could not be sent. The text says where to, and why."""


def choose(asked: str | None) -> Kind:
    """Return where to send the head. By default that is the journal if there is one, and otherwise syslog."""
    if asked in ("none", "syslog", "journal"):
        return t.cast("Kind", asked)
    if _is_socket(JOURNAL):
        return "journal"
    return "syslog" if _is_socket(SYSLOG) else "none"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def tell(kind: Kind, head: Head) -> None:
    """Send one line. Raises :class:`AnchorError`."""
    if kind == "journal":
        _send(JOURNAL, _journal_entry(head))
    elif kind == "syslog":
        text = f"<{_PRIORITY}>{TAG}[{os.getpid()}]: {head.text()}"
        _send(SYSLOG, text.encode("utf-8", "backslashreplace"))


def _journal_entry(head: Head) -> bytes:
    fields = {
        "MESSAGE": head.text(),
        "PRIORITY": "5",
        "SYSLOG_FACILITY": "10",
        "SYSLOG_IDENTIFIER": TAG,
        "VIRTAUDIT_HEAD": head.head,
        "VIRTAUDIT_RUN": head.run,
    }
    lines = (f"{name}={value}\n" for name, value in fields.items())
    return "".join(lines).encode("utf-8", "backslashreplace")


def _send(path: str, data: bytes) -> None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(5)
            sender.connect(path)
            sender.send(data)
    except OSError as exc:
        raise AnchorError(
            f"the head could not be told to {path}: {exc.strerror or exc}"
        ) from exc
