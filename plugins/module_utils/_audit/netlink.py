# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Talks to the kernel's audit system over netlink: asks for its status, sends records, confirms them.

Sources: ``include/uapi/linux/audit.h``, ``kernel/audit.c``, ``netlink(7)``.

An ACK proves nothing. If auditing is disabled or the backlog is full, the kernel drops the record and still
acknowledges it. Only the echo on the multicast group AUDIT_NLGRP_READLOG proves that the kernel took a record.
The echo also carries the event id.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
import time
import typing as t

from .._errors import AuditError, AuditPermissionError

if t.TYPE_CHECKING:
    from .record import Record

NETLINK_AUDIT = 9
AUDIT_NLGRP_READLOG = 1
AUDIT_GET = 1000
NLMSG_ERROR = 2
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4

# With a buffer of the default size the echo gets lost when other records come in a burst.
_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
_DATAGRAM_BYTES = 16384
_ANSWER_SECONDS = 10.0
_ECHO_SECONDS = 2.0

_HEADER = struct.Struct("=IHHII")
# struct audit_status up to backlog: mask, enabled, failure, pid, rate_limit, backlog_limit, lost, backlog
_STATUS = struct.Struct("=8I")
_ECHO = re.compile(
    rb"audit\((?P<event>\d+\.\d+:\d+)\): pid=(?P<pid>\d+) uid=\d+ auid=(?P<auid>\d+) ses=(?P<ses>\d+)"
    rb"(?: subj=\S*(?: \([a-z]+\))?)? msg='(?P<text>.*)'",
    re.DOTALL,
)


class Status(t.NamedTuple):
    """The answer to AUDIT_GET. ``pid`` is the audit daemon's, or 0 if none is registered."""

    enabled: int
    pid: int
    lost: int
    backlog: int
    backlog_limit: int


class Confirmation(t.NamedTuple):
    """The kernel's echo of a record: its event id (``<seconds>.<ms>:<serial>``) and the sender's identity."""

    event: str
    auid: int
    ses: int


class AuditSocket:
    """A connection to the kernel's audit system. Use it as a context manager.

    Every method raises :class:`AuditError` if the kernel refuses.
    """

    def __init__(self) -> None:
        self._sequence = 0
        self._stack = contextlib.ExitStack()
        self._listener: socket.socket | None = None
        try:
            self._sender = self._socket(0)
        except AuditError:
            self._stack.close()
            raise

    def __enter__(self) -> AuditSocket:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def status(self) -> Status:
        """Ask for the kernel's audit status (needs CAP_AUDIT_CONTROL)."""
        for message_type, payload in self._exchange(AUDIT_GET, b"", NLM_F_REQUEST):
            if message_type == AUDIT_GET and len(payload) >= _STATUS.size:
                _mask, enabled, _failure, pid, _rate, limit, lost, backlog = (
                    _STATUS.unpack_from(payload)
                )
                return Status(
                    enabled=enabled,
                    pid=pid,
                    lost=lost,
                    backlog=backlog,
                    backlog_limit=limit,
                )
        raise AuditError("the kernel did not answer the request for its audit status")

    def listen(self) -> None:
        """Join the group that echoes records (CAP_AUDIT_READ, initial network namespace only).

        A process joins once, because the kernel writes an EVENT_LISTENER record for each join.
        """
        if self._listener is not None:
            return
        listener = self._socket(1 << (AUDIT_NLGRP_READLOG - 1))
        with contextlib.suppress(OSError):
            # include/uapi/asm-generic/socket.h: SO_RCVBUFFORCE
            listener.setsockopt(socket.SOL_SOCKET, 33, _RECEIVE_BUFFER_BYTES)
        self._listener = listener

    def send(self, record: Record) -> None:
        """Send a record and wait for the kernel's ACK, which proves only that the kernel allowed the text."""
        payload = record.text().encode("ascii") + b"\0"
        for _message in self._exchange(
            record.number, payload, NLM_F_REQUEST | NLM_F_ACK
        ):
            pass

    def send_confirmed(self, record: Record) -> Confirmation:
        """Send a record and return the kernel's echo of it; needs :meth:`listen` first."""
        if self._listener is None:
            raise AuditError("this task does not listen to the kernel's audit records")
        self._drain(self._listener)
        self.send(record)
        confirmation = self._await_echo(self._listener, record)
        if confirmation is None:
            raise AuditError(
                f"the kernel acknowledged a {record.type} record and dropped it (auditing is disabled, or the backlog "
                "is full: see 'auditctl -s')"
            )
        return confirmation

    def _socket(self, groups: int) -> socket.socket:
        try:
            opened = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_AUDIT
            )
            self._stack.callback(opened.close)
            opened.bind((0, groups))
            opened.settimeout(_ANSWER_SECONDS)
        except OSError as exc:
            what = (
                "listen to the kernel's audit records"
                if groups
                else "reach the kernel's audit system"
            )
            raise _refused(f"cannot {what}", exc) from exc
        return opened

    def _exchange(
        self, message_type: int, payload: bytes, flags: int
    ) -> t.Iterator[tuple[int, bytes]]:
        """Send one request. Yield the answers until the ACK or the single answer has come."""
        self._sequence += 1
        header = _HEADER.pack(
            _HEADER.size + len(payload), message_type, flags, self._sequence, 0
        )
        try:
            self._sender.sendto(header + payload, (0, 0))
            deadline = time.monotonic() + _ANSWER_SECONDS
            while True:
                data = _receive(self._sender, deadline)
                if data is None:
                    continue
                _length, answer_type, _flags, sequence, _pid = _HEADER.unpack_from(data)
                if sequence != self._sequence:
                    continue
                if answer_type == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", data, _HEADER.size)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield answer_type, data[_HEADER.size :]
                if not flags & NLM_F_ACK:
                    return
        except OSError as exc:
            raise _refused("the kernel's audit system refused", exc) from exc

    def _await_echo(
        self, listener: socket.socket, record: Record
    ) -> Confirmation | None:
        wanted = record.text().encode("ascii")
        deadline = time.monotonic() + _ECHO_SECONDS
        while True:
            try:
                data = _receive(listener, deadline)
            except socket.timeout:
                return None
            except OSError as exc:
                if exc.errno == errno.ENOBUFS:
                    # Echoes of other records got lost. The awaited echo may still come.
                    continue
                raise AuditError(
                    f"cannot read the kernel's audit records: {exc.strerror}"
                ) from exc
            if data is None:
                continue
            confirmation = _match(data, record.number, wanted)
            if confirmation is not None:
                return confirmation

    @staticmethod
    def _drain(listener: socket.socket) -> None:
        """Forget old echoes, because two queues of one interface send the same text."""
        listener.setblocking(False)
        while True:
            try:
                listener.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise AuditError(
                        f"cannot read the kernel's audit records: {exc.strerror}"
                    ) from exc


def _receive(source: socket.socket, deadline: float) -> bytes | None:
    """Return the next message, or ``None`` if somebody other than the kernel sent it.

    A process with CAP_NET_ADMIN may send to this port. Only the kernel's own port is 0 (``netlink(7)``). Raises
    :class:`OSError`, and ``socket.timeout`` after the deadline.
    """
    # A sender that never stops must not make the task wait for ever.
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    source.settimeout(left)
    data, address = source.recvfrom(_DATAGRAM_BYTES)
    return data if address[0] == 0 else None


def _match(data: bytes, message_type: int, text: bytes) -> Confirmation | None:
    if _HEADER.unpack_from(data)[1] != message_type:
        return None
    match = _ECHO.match(data[_HEADER.size :].rstrip(b"\0"))
    if match is None or int(match["pid"]) != os.getpid() or match["text"] != text:
        return None
    return Confirmation(
        match["event"].decode("ascii"), int(match["auid"]), int(match["ses"])
    )


def _refused(what: str, exc: OSError) -> AuditError:
    if exc.errno == errno.EPERM:
        return AuditPermissionError(
            f"{what}: operation not permitted (the task needs CAP_AUDIT_WRITE, CAP_AUDIT_READ and CAP_AUDIT_CONTROL"
            " in the initial pid namespace: root with become: true)"
        )
    if exc.errno == errno.ECONNREFUSED:
        return AuditPermissionError(
            f"{what}: connection refused (a user namespace or a container cannot write audit records)"
        )
    return AuditError(f"{what}: {exc.strerror or exc}")
