# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of qemu's QMP monitor that can pass file descriptors.

Source: qemu's ``docs/interop/qmp-spec``.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import json
import math
import os
import socket
import struct
import time
import typing as t

from .._errors import MonitorError, QmpError, UnreachableError
from .answers import malformed

_MAX_LINE_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 65536
_QUEUE_STEP_SECONDS = 0.02
# A qemu that its guest has taken over can send events without end. A lost event only makes a task ask again.
_MAX_EVENTS = 4096
# Longer than any event that a task waits for.
_MAX_EVENT_BYTES = 2048
# Events and answers have one of these keys. A greeting has none of them.
_NO_GREETING = frozenset(("event", "return", "error"))
# unix(7): struct ucred
_UCRED = struct.Struct("=iII")


class Monitor:
    """One QMP session. Use it as a context manager, because a monitor serves one client at a time.

    ``timeout`` is the number of seconds that qemu gets for each answer. Every method raises
    :class:`MonitorError` if qemu has ended, does not answer, or is not a QMP server, and :class:`QmpError` if
    qemu refuses a command.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self.greeting: dict[str, t.Any] = {}
        # The end of altogether(), and its seconds.
        self._limit = (math.inf, math.inf)
        self._buffer = b""
        # The last answer of the client before may still come, so its number must not be one of ours.
        self._sequence = int.from_bytes(os.urandom(6), "big")
        self._events: collections.deque[dict[str, t.Any]] = collections.deque(
            maxlen=_MAX_EVENTS
        )
        self._socket = self._connect()
        try:
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the monitor to the next client."""
        self._socket.close()

    def peer(self) -> tuple[int, int]:
        """Return pid and uid of the process that listens on the socket (SO_PEERCRED)."""
        data = self._socket.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size
        )
        pid, uid, _gid = _UCRED.unpack(data)
        return int(pid), int(uid)

    def execute(
        self,
        command: str,
        arguments: t.Mapping[str, t.Any] | None = None,
        fd: int | None = None,
    ) -> t.Any:
        """Send one command, and a file descriptor with it if one is given. Return its value."""
        fds = [] if fd is None else [fd]
        answer = self.try_all([(command, arguments or {})], fds)[0]
        if isinstance(answer, QmpError):
            raise answer
        return answer

    def execute_all(self, *commands: str) -> list[t.Any]:
        """Send commands without arguments in one go. Return their values."""
        answers = self.try_all([(command, {}) for command in commands])
        for answer in answers:
            if isinstance(answer, QmpError):
                raise answer
        return answers

    def try_all(
        self,
        commands: t.Sequence[tuple[str, t.Mapping[str, t.Any]]],
        fds: t.Sequence[int] = (),
    ) -> list[t.Any]:
        """Send commands in one go. Return the value or the :class:`QmpError` of each.

        If file descriptors are given, there is one for each command.
        """
        first = self._sequence + 1
        lines = []
        for command, arguments in commands:
            self._sequence += 1
            message: dict[str, t.Any] = {"execute": command, "id": self._sequence}
            if arguments:
                message["arguments"] = arguments
            lines.append(json.dumps(message).encode("utf-8") + b"\n")
        if fds:
            # Each message has one fd, attached to its first byte (SCM_RIGHTS), because qemu keeps
            # only the last one that it got.
            for line, fd in zip(lines, fds):
                self._send(line, fd)
        else:
            self._send(b"".join(lines), None)
        return [
            self._answer(first + offset, command)
            for offset, (command, _args) in enumerate(commands)
        ]

    @contextlib.contextmanager
    def within(self, seconds: float) -> t.Iterator[None]:
        """Give qemu at most ``seconds``, which are more than 0, for each answer until the end of the context."""
        usual, self.timeout = self.timeout, min(self.timeout, seconds)
        try:
            yield
        finally:
            self.timeout = usual

    @contextlib.contextmanager
    def altogether(self, seconds: float) -> t.Iterator[None]:
        """Give qemu at most ``seconds`` for all answers together until the end of the context.

        A qemu that its guest has taken over can list any number of devices, and wait before each answer about them.
        """
        before = self._limit
        self._limit = min(before, (time.monotonic() + seconds, seconds))
        try:
            yield
        finally:
            self._limit = before

    def wait_event(self, deadline: float) -> dict[str, t.Any] | None:
        """Return the next event, or ``None`` if there is none until ``deadline`` (``time.monotonic()``)."""
        while not self._events:
            message = self._receive(deadline)
            if message is None:
                return None
            if "event" in message:
                self._events.append(message)
        return self._events.popleft()

    def _connect(self) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        opened.settimeout(self.timeout)
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                opened.connect(self.path)
                return opened
            except BlockingIOError as exc:
                # With a timeout, connect() does not wait for a place in the queue of clients.
                if time.monotonic() >= deadline:
                    opened.close()
                    raise self._cannot_connect(exc) from exc
                time.sleep(_QUEUE_STEP_SECONDS)
            except OSError as exc:
                opened.close()
                raise self._cannot_connect(exc) from exc

    def _cannot_connect(self, exc: OSError) -> MonitorError:
        if exc.errno == errno.ENOENT:
            return UnreachableError(
                f"there is no QMP socket {self.path}; check that the VM runs"
            )
        if exc.errno == errno.ECONNREFUSED:
            return UnreachableError(
                f"nobody listens on the QMP socket {self.path}; the qemu that made it has ended"
            )
        if exc.errno == errno.EAGAIN or isinstance(exc, socket.timeout):
            return MonitorError(
                f"the QMP socket {self.path} is busy, because other clients already wait on it"
            )
        return MonitorError(
            f"cannot connect to the QMP socket {self.path}: {exc.strerror or exc}"
        )

    def _greet(self) -> None:
        deadline = time.monotonic() + self.timeout
        greeting = self._receive(deadline)
        # qemu may first send an event that happened between two clients, or its answer to a client that has left.
        while greeting is not None and not _NO_GREETING.isdisjoint(greeting):
            if "event" in greeting:
                self._events.append(greeting)
            greeting = self._receive(deadline)
        if greeting is None:
            raise MonitorError(
                f"qemu did not greet on {self.path} within {self.timeout:g} s: another client holds this"
                " monitor (it serves one at a time), or qemu hangs; give the VM a monitor of its own for"
                " this collection (-qmp unix:PATH,server=on,wait=off). If qemu hangs, end the VM (vm_net_detach with"
                " stop_vm: destroy), which works without an answer if this host has noted its process"
            )
        if "QMP" not in greeting:
            raise MonitorError(
                f"{self.path} is not a QMP monitor: it greeted with {str(greeting)[:100]}"
            )
        self.greeting = greeting["QMP"]
        self.execute("qmp_capabilities")

    def _answer(self, number: int, command: str) -> t.Any:
        usual = (time.monotonic() + self.timeout, self.timeout)
        deadline, seconds = min(usual, self._limit)
        while True:
            message = self._receive(deadline)
            if message is None:
                raise MonitorError(
                    f"qemu did not answer {command} within {seconds:g} s on {self.path}"
                )
            if "event" in message:
                self._events.append(message)
            elif message.get("id") == number:
                if "error" in message:
                    error = message["error"]
                    if not isinstance(error, dict):
                        raise malformed(command, message)
                    return QmpError(
                        command, str(error.get("class")), str(error.get("desc"))
                    )
                return message.get("return")

    def _send(self, data: bytes, fd: int | None) -> None:
        try:
            self._socket.settimeout(self.timeout)
            sent = 0
            if fd is not None:
                sent = socket.send_fds(self._socket, [data], [fd])
            if sent < len(data):
                self._socket.sendall(data[sent:])
        except socket.timeout as exc:
            raise MonitorError(
                f"qemu accepted no command within {self.timeout:g} s on {self.path}: it hangs"
            ) from exc
        except OSError as exc:
            raise MonitorError(self._gone(exc)) from exc

    def _receive(self, deadline: float) -> dict[str, t.Any] | None:
        """Return the next message, or ``None`` at the deadline."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except socket.timeout:
                return None
            except OSError as exc:
                raise MonitorError(self._gone(exc)) from exc
            if not data:
                raise MonitorError(self._gone(None))
            self._buffer += data
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise MonitorError(
                    f"{self.path} is not a QMP monitor: it sends without end"
                )
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        message = self._parse(line)
        if "event" in message and len(line) > _MAX_EVENT_BYTES:
            # Nothing of it is kept, because each of many events can be as long as a line.
            return {"event": None}
        return message

    def _parse(self, line: bytes) -> dict[str, t.Any]:
        # json fails with RecursionError if a line has too many nested brackets.
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict) and isinstance(message.get("data", {}), dict):
                return message
        raise MonitorError(f"{self.path} is not a QMP monitor: it sent {line[:100]!r}")

    def _gone(self, exc: OSError | None) -> str:
        reason = "closed the connection" if exc is None else os.strerror(exc.errno or 0)
        return (
            f"qemu's monitor {self.path} is gone ({reason}): qemu has ended or crashed"
        )
