# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A QMP server on a real socket. A test scripts each of its steps."""

from __future__ import annotations

import array
import json
import os
import socket
import threading
import typing as t

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2}}, "capabilities": []}}


class Client:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.fds: list[int] = []
        self.received: list[dict[str, t.Any]] = []
        self._buffer = b""

    def send(self, *messages: t.Mapping[str, t.Any]) -> None:
        """Send messages in one write."""
        self.raw(b"".join(json.dumps(each).encode() + b"\r\n" for each in messages))

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> dict[str, t.Any]:
        """Return the next command, and keep its file descriptors."""
        while b"\n" not in self._buffer:
            size = array.array("i").itemsize
            data, ancillary, _flags, _address = self.socket.recvmsg(
                65536, socket.CMSG_SPACE(8 * size)
            )
            for level, kind, content in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) // size * size])
                self.fds += numbers
            if not data:
                raise EOFError
            self._buffer += data
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        command: dict[str, t.Any] = json.loads(line)
        self.received.append(command)
        return command

    def answer(self, value: t.Any = None) -> dict[str, t.Any]:
        """Answer one command, and return it."""
        command = self.receive()
        self.send({"return": {} if value is None else value, "id": command["id"]})
        return command

    def wait_end(self) -> None:
        """Wait until the client leaves. It must not send anything more."""
        try:
            unexpected = self.receive()
        except (EOFError, ConnectionResetError):
            return
        raise AssertionError(unexpected)

    def greet(self) -> None:
        """Begin as qemu does."""
        self.send(GREETING)
        assert self.answer()["execute"] == "qmp_capabilities"


class Server:
    """Serves one client with a script, in a thread. Use it as a context manager.

    It raises the errors of the script at the end, so that no check in the script is lost.
    """

    def __init__(self, path: str, script: t.Callable[[Client], None]) -> None:
        self.path = path
        self._script = script
        self._failure: BaseException | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.settimeout(10)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.client: Client | None = None

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()
        if self._failure is not None and kind is None:
            raise self._failure

    def _serve(self) -> None:
        try:
            connection, _address = self._listener.accept()
            with connection:
                connection.settimeout(10)
                self.client = Client(connection)
                try:
                    self._script(self.client)
                finally:
                    for fd in self.client.fds:
                        os.close(fd)
        except BaseException as exc:
            self._failure = exc
