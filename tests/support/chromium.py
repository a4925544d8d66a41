# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drives Chromium as a person would: it presses keys, and reads what the page shows then.

It speaks the DevTools protocol over a pair of pipes (``--remote-debugging-pipe``), which needs no library.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

_KEYS = {"Tab": 9, "Enter": 13}
_SECONDS = 120


class Chromium:
    """One page in a browser of its own."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._rest = to, back, b""
        self._number = 0
        self._session: str | None = None

    def open(self, page: Path) -> None:
        """Open a page, and wait until it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")
        self.call("Page.navigate", url=page.as_uri())
        until = time.monotonic() + _SECONDS
        while self.value("document.readyState") != "complete":
            if time.monotonic() > until:
                raise TimeoutError(f"{page} is not loaded after {_SECONDS} s")
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key: Tab or Enter."""
        code = _KEYS[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind, more in (("keyDown", text), ("keyUp", {})):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **more,
            )

    def type(self, text: str) -> None:
        """Type a text at the focus."""
        self.call("Input.insertText", text=text)

    def value(self, expression: str) -> t.Any:
        """Return the value of a JavaScript expression. The page's own security policy does not apply to it."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in answer:
            raise ValueError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def call(self, method: str, **params: t.Any) -> t.Any:
        """Send a command, and return its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        if self._session is not None and not method.startswith("Target."):
            command["sessionId"] = self._session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                if "error" in message:
                    raise ValueError(f"{method}: {message['error']}")
                return message["result"]

    def _message(self) -> t.Any:
        while b"\0" not in self._rest:
            data = os.read(self._back, 1 << 16)
            if not data:
                raise EOFError("chromium has ended")
            self._rest += data
        message, _nul, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def chromium(*options: str) -> t.Iterator[Chromium]:
    """Start a browser, and end it."""
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()
    # Chromium reads commands from descriptor 3 and answers on 4, so the pipes must be there.
    script = f'exec "$@" 3<&{to_read} 4>&{back_write}'
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}", *options),
        ]
        child = subprocess.Popen(
            ["/bin/bash", "-c", script, "chromium", *command],
            pass_fds=(to_read, back_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(back_write)
        try:
            yield Chromium(to_write, back_read)
        finally:
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            os.close(to_write)
            os.close(back_read)
