# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel's echo of a record on the multicast group AUDIT_NLGRP_READLOG. Source: ``kernel/audit.c``. Pure."""

from __future__ import annotations

import re
import typing as t

# The expression is compiled when it is first used, because a task that changes nothing does not need it.
_ECHO = (
    rb"audit\((?P<event>\d+\.\d+:\d+)\): pid=(?P<pid>\d+) uid=\d+ auid=(?P<auid>\d+) ses=(?P<ses>\d+)"
    rb"(?: subj=\S*(?: \([a-z]+\))?)? msg='(?P<text>.*)'"
)


class Confirmation(t.NamedTuple):
    """The kernel's echo of a record: its event id (``<seconds>.<ms>:<serial>``) and the sender's identity."""

    event: str
    auid: int
    ses: int


def read_echo(payload: bytes, pid: int) -> tuple[bytes, Confirmation] | None:
    """Return the text that a process sent, and its confirmation. Return ``None`` for every other message."""
    match = re.match(_ECHO, payload.rstrip(b"\0"), re.DOTALL)
    if match is None or int(match["pid"]) != pid:
        return None
    event = match["event"].decode("ascii")
    return match["text"], Confirmation(event, int(match["auid"]), int(match["ses"]))
