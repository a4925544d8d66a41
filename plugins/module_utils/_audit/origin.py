# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a record comes from: the program, the operator's address and the terminal.

These are the fields that libaudit's ``audit_log_user_message(3)`` adds to every message.
"""

from __future__ import annotations

import ipaddress
import os
import typing as t

from .._proc import stat_fields


class Origin(t.NamedTuple):
    """The sender of a record. ``addr`` and ``terminal`` are ``None`` if there is none."""

    exe: str
    addr: str | None
    terminal: str | None

    @classmethod
    def of_this_process(cls) -> Origin:
        """Find out where this process comes from. Look at it and at its ancestors."""
        return cls(
            exe=os.readlink("/proc/self/exe"), addr=_ssh_client(), terminal=_terminal()
        )

    def fields(self) -> dict[str, str | None]:
        """Return the fields between a record's own fields and its ``res``."""
        return {
            "exe": self.exe,
            "hostname": None,
            "addr": self.addr,
            "terminal": self.terminal,
        }


def _terminal() -> str | None:
    for fd in (0, 1, 2):
        try:
            name = os.ttyname(fd)
        except OSError:
            continue
        return name[5:] if name.startswith("/dev/") else name
    return None


def _ssh_client() -> str | None:
    # sudo drops SSH_CONNECTION, so the ancestors are asked. The outermost ancestor that has it is next to sshd. What
    # the operator's own shell sets does not count.
    found: str | None = None
    pid = os.getpid()
    while pid > 1:
        found = _address_in(pid) or found
        pid = _parent(pid)
    return found


def _address_in(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/environ", "rb") as handle:
            variables = handle.read().split(b"\0")
    except OSError:
        return None
    for variable in variables:
        if variable.startswith(b"SSH_CONNECTION="):
            words = variable[len(b"SSH_CONNECTION=") :].split()
            try:
                return str(
                    ipaddress.ip_address(words[0].decode("ascii").partition("%")[0])
                )
            except (IndexError, ValueError):
                return None
    return None


def _parent(pid: int) -> int:
    fields = stat_fields(pid)
    return 0 if fields is None else int(fields[1])
