# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain QMP: sends one command without the code of the collection."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

_SECONDS = 10.0


def call(
    path: str,
    command: str,
    arguments: dict[str, Any] | None = None,
    fd: int | None = None,
) -> Any:
    """Send one command to a monitor, optionally with a descriptor. Return its value or its error."""
    with _connect(path) as client, client.makefile("r", encoding="utf-8") as lines:
        _ask(client, lines, {"execute": "qmp_capabilities"})
        message = {"execute": command, "arguments": arguments or {}}
        answer = _ask(client, lines, message, fd)
    return answer.get("return", answer)


def _connect(path: str) -> socket.socket:
    deadline = time.monotonic() + _SECONDS
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(_SECONDS)
        try:
            client.connect(path)
        except OSError:
            client.close()
            if time.monotonic() > deadline:
                raise SystemExit(f"nobody listens on {path}") from None
            time.sleep(0.02)
        else:
            return client


def _ask(
    client: socket.socket, lines: Any, message: dict[str, Any], fd: int | None = None
) -> dict[str, Any]:
    # qemu may still send answers that were for the client before.
    number = os.urandom(8).hex()
    data = json.dumps({**message, "id": number}).encode() + b"\n"
    if fd is None:
        client.sendall(data)
    else:
        socket.send_fds(client, [data], [fd])
    while True:
        answer: dict[str, Any] = json.loads(lines.readline())
        if answer.get("id") == number:
            return answer
