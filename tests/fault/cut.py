# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kills a task at a moment that an action of the task marks. This is faster than strace."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import runner

# A module and its arguments.
Task = tuple[str, dict[str, Any]]


def cut_off(task: Task, at: str, number: int = 1, after: bool = False) -> None:
    """Run a task and kill it before, or right ``after``, the ``number``-th call that matches a regular expression.

    The calls are ``record TEXT`` (the task sends an audit record), ``monitor JSON`` (it sends a command to qemu), ``open
    PATH``, ``rename PATH`` (it puts a note in its place) and ``start WORDS`` (it starts a program). Raises
    :class:`SystemExit` if the task ended before that call.
    """
    result = runner.run_module(*task, first=lambda: _arm(at, number, after))
    if result:
        raise SystemExit(f"the task was not cut off at {at!r}: {result}")


def _arm(at: str, number: int, after: bool) -> None:
    left = number

    def watch(owner: Any, name: str, words: Callable[..., str]) -> None:
        real = getattr(owner, name)

        def call(*given: Any, **options: Any) -> Any:
            nonlocal left
            struck = re.search(at, words(*given), re.DOTALL) is not None
            left -= struck
            if struck and left == 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            value = real(*given, **options)
            if struck and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        setattr(owner, name, call)

    watch(socket.socket, "sendto", lambda _own, data, *_rest: _words("record", data))
    watch(socket.socket, "sendall", lambda _own, data, *_rest: _words("monitor", data))
    watch(
        socket.socket,
        "sendmsg",
        lambda _own, parts, *_rest: _words("monitor", b"".join(parts)),
    )
    watch(os, "open", lambda path, *_rest: f"open {path}")
    watch(os, "rename", lambda _old, new: f"rename {new}")
    watch(
        subprocess.Popen,
        "__init__",
        lambda _own, words, *_rest: f"start {' '.join(words)}",
    )


def _words(what: str, data: bytes) -> str:
    return f"{what} {bytes(data).decode('utf-8', 'replace')}"
