# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A kernel's audit system behind a fake ``socket`` module: AF_NETLINK, AUDIT_GET, echoes."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket as real
import struct
import tempfile
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import (
    namespaces,
    netlink,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.daemon import (
    Daemon,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import (
    MESSAGE_TYPES,
)

HEADER = struct.Struct("=IHHII")
AUDIT_GET = 1000
NLMSG_ERROR = 2
_NAMES = {number: name for name, number in MESSAGE_TYPES.items()}


def echo(
    text: str,
    pid: int | None = None,
    record_type: int = 2501,
    subject: str = "",
    event: str = "1795448404.573:345",
) -> bytes:
    """Return the message of the group AUDIT_NLGRP_READLOG about a user message."""
    sender = os.getpid() if pid is None else pid
    body = f"audit({event}): pid={sender} uid=0 auid=1000 ses=7{subject} msg='{text}'"
    data = body.encode("ascii")
    return HEADER.pack(len(data), record_type, 0, 0, 0) + data


def answer_status(sequence: int, enabled: int, daemon: int, lost: int) -> bytes:
    """Return the kernel's answer to a request for its status."""
    status = struct.pack("=8I", 0, enabled, 1, daemon, 0, 64, lost, 2) + bytes(12)
    return HEADER.pack(HEADER.size + 32, AUDIT_GET, 0, sequence, 0) + status


def log_file() -> t.IO[bytes]:
    """Return an empty log, which is removed with the last reference to it."""
    return t.cast(t.IO[bytes], tempfile.TemporaryFile())


class Forged(bytes):
    """A message that a process sent, and not the kernel."""


@dataclasses.dataclass
class Kernel:
    """A fake kernel in place of the module ``socket``. It remembers what reached it.

    ``noise`` comes before each echo, with errors as exceptions. ``subject`` is what the security module adds.
    ``refuse`` maps a message type, or ``bind`` and ``listen``, to an errno.
    """

    enabled: int = 1
    daemon: int = dataclasses.field(default_factory=os.getpid)
    lost: int = 3
    echoes: bool = True
    subject: str = ""
    noise: list[bytes | OSError] = dataclasses.field(default_factory=list)
    refuse: dict[int | str, int] = dataclasses.field(default_factory=dict)
    stale_answers: bool = False
    silent: bool = False
    # Whether the daemon writes records, or has suspended its logging.
    writes: bool = True
    sent: list[tuple[int, bytes]] = dataclasses.field(default_factory=list)
    sockets: list[Socket] = dataclasses.field(default_factory=list)
    log: t.IO[bytes] = dataclasses.field(default_factory=log_file)

    AF_NETLINK = real.AF_NETLINK
    SOCK_RAW = real.SOCK_RAW
    SOCK_CLOEXEC = real.SOCK_CLOEXEC
    SOL_SOCKET = real.SOL_SOCKET
    timeout = real.timeout

    def socket(self, family: int, kind: int, protocol: int) -> Socket:
        """Stand in for socket.socket()."""
        assert (family, protocol) == (real.AF_NETLINK, 9)
        assert kind == real.SOCK_RAW | real.SOCK_CLOEXEC
        made = Socket(self)
        self.sockets.append(made)
        return made

    @property
    def texts(self) -> list[str]:
        """Return the user messages that were sent, without their NUL."""
        return [
            data[:-1].decode("ascii") for kind, data in self.sent if kind != AUDIT_GET
        ]

    @property
    def listeners(self) -> list[Socket]:
        """Return the sockets that joined the group."""
        return [each for each in self.sockets if each.groups]

    def answer(self, data: bytes) -> list[bytes]:
        """Take a request. Return the answers to its sender, and send out the echo."""
        length, kind, flags, sequence, _pid = HEADER.unpack_from(data)
        assert length == len(data)
        payload = data[HEADER.size :]
        self.sent.append((kind, payload))
        if self.silent:
            return []
        answers = [_ack(sequence - 1, 0)] if self.stale_answers else []
        if kind in self.refuse:
            return [*answers, _ack(sequence, self.refuse[kind])]
        if kind == AUDIT_GET:
            return [
                *answers,
                answer_status(sequence, self.enabled, self.daemon, self.lost),
            ]
        # NLM_F_REQUEST, with or without NLM_F_ACK.
        assert flags in (0x5, 0x1)
        assert payload.endswith(b"\0")
        for listener in self.listeners:
            listener.inbox += self.noise
            if self.echoes and self.enabled:
                text = payload[:-1].decode("ascii")
                echoed = echo(text, record_type=kind, subject=self.subject)
                listener.inbox.append(echoed)
                self._log(kind, echoed)
        return [*answers, _ack(sequence, 0)] if flags & 0x4 else answers

    def _log(self, kind: int, echoed: bytes) -> None:
        """Let the daemon write a record to its log."""
        if self.writes:
            name = _NAMES[kind].encode("ascii")
            self.log.write(b"type=%b msg=%b\n" % (name, echoed[HEADER.size :]))
            self.log.flush()


@dataclasses.dataclass
class Socket:
    """One netlink socket of a :class:`Kernel`."""

    kernel: Kernel
    groups: int = 0
    bound: bool = False
    inbox: list[bytes | OSError] = dataclasses.field(default_factory=list)
    blocking: bool = True
    closed: bool = False
    options: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)

    def bind(self, address: tuple[int, int]) -> None:
        code = self.kernel.refuse.get("listen" if address[1] else "bind")
        if code:
            raise OSError(code, os.strerror(code))
        self.groups, self.bound = address[1], True

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options.append((level, option, value))

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0
        self.blocking = True

    def setblocking(self, blocking: bool) -> None:
        self.blocking = blocking

    def sendto(self, data: bytes, address: tuple[int, int]) -> int:
        assert address == (0, 0)
        self.inbox += self.kernel.answer(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        return self.recvfrom(size)[0]

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        assert size >= 8192
        if not self.inbox:
            raise real.timeout("timed out") if self.blocking else BlockingIOError()
        found = self.inbox.pop(0)
        if isinstance(found, OSError):
            raise found
        if isinstance(found, Forged):
            return bytes(found), (4711, 0)
        return found, (0, 0)

    def close(self) -> None:
        self.closed = True


def overrun() -> OSError:
    """Return the error of a socket whose buffer ran over."""
    return OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


def _ack(sequence: int, code: int) -> bytes:
    body = struct.pack("=i", -code) + bytes(16)
    return HEADER.pack(HEADER.size + len(body), NLMSG_ERROR, 0, sequence, 0) + body


def install(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> Kernel:
    """Let the code under test open its sockets at a fresh copy of the kernel."""
    log = log_file()
    fresh = dataclasses.replace(kernel, sent=[], sockets=[], log=log)
    monkeypatch.setattr(netlink, "socket", fresh)
    monkeypatch.setattr(namespaces, "foreign", lambda: None)
    monkeypatch.setattr(Daemon, "log", lambda _self: f"/proc/self/fd/{log.fileno()}")
    return fresh
