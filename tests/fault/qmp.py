# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain QMP: sends one command without the code of the collection."""

from __future__ import annotations

import json
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
        lines.readline()
        client.sendall(b'{"execute": "qmp_capabilities"}\n')
        _answer(lines)
        message = {"execute": command, "arguments": arguments or {}}
        data = json.dumps(message).encode() + b"\n"
        if fd is None:
            client.sendall(data)
        else:
            socket.send_fds(client, [data], [fd])
        answer = _answer(lines)
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


def _answer(lines: Any) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(lines.readline())
        if "event" not in message:
            return message
