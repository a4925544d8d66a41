# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends short requests to the kernel over netlink, for which a library would take longer than the rest of the task.

The import of pyroute2 takes 0.2 s, and libnftables reads all elements of a table to answer about one. Sources:
``netlink(7)``, ``include/uapi/linux/netlink.h``.
"""

from __future__ import annotations

import os
import socket
import struct
import typing as t

from .._errors import LinkError

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
# struct nfgenmsg of netfilter's messages: family, version, resource.
NETFILTER = struct.Struct("=BBH")
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
NLM_F_REPLACE = 0x100
NLA_F_NESTED = 0x8000

_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLM_F_DUMP_INTR = 0x10
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLA_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_BATCH_BEGIN, _BATCH_END = 16, 17
_BYTES = 65536
_SECONDS = 10.0
_TRIES = 5


class Reply(t.NamedTuple):
    """One message of an answer: its type, and its bytes after the header."""

    type: int
    payload: bytes


class Order(t.NamedTuple):
    """One message of a transaction: its type and flags, and its bytes after the header."""

    type: int
    flags: int
    payload: bytes


def talk(protocol: int, kind: int, flags: int, payload: bytes) -> list[Reply]:
    """Send one message and return the messages of the answer.

    ``protocol`` is ``NETLINK_ROUTE`` or ``NETLINK_NETFILTER``; ``kind`` and ``flags`` are the header's. If the
    kernel says that a dump is inconsistent, ask for it again. Raises :class:`OSError` with the kernel's errno.
    """
    for _try in range(_TRIES):
        replies, interrupted = _talk(protocol, kind, flags, payload)
        if not interrupted:
            return replies
    raise LinkError(
        "the kernel's network settings kept changing while the task read them; run the task again"
    )


def attribute(kind: int, value: bytes) -> bytes:
    """Return a netlink attribute, padded."""
    padding = bytes(-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that contains others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes) -> list[tuple[int, bytes]]:
    """Return type and value of each attribute."""
    found = []
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found.append((kind & _NLA_TYPE_MASK, data[_ATTRIBUTE.size : length]))
        data = data[length + (-length % 4) :]
    return found


def transact(subsystem: int, orders: t.Sequence[Order], dry: bool = False) -> None:
    """Give orders to a part of netfilter, which carries out all of them or none, or only tries them.

    Raises :class:`OSError` with the kernel's errno.
    """
    frame = NETFILTER.pack(0, 0, socket.htons(subsystem))
    batch = [_message(_BATCH_BEGIN, 0, frame)]
    batch += [_message(kind, flags | _NLM_F_ACK, body) for kind, flags, body in orders]
    if not dry:
        # Without it the kernel takes everything back.
        batch.append(_message(_BATCH_END, 0, frame))
    with _socket(NETLINK_NETFILTER) as sock:
        sock.sendto(b"".join(batch), (0, 0))
        answered = 0
        while answered < len(orders):
            for answer, _marks, body in _received(sock):
                if answer == _NLMSG_ERROR:
                    _raise(body)
                    answered += 1


def _talk(
    protocol: int, kind: int, flags: int, payload: bytes
) -> tuple[list[Reply], bool]:
    dump = flags & NLM_F_DUMP == NLM_F_DUMP
    flags |= 0 if dump else _NLM_F_ACK
    replies: list[Reply] = []
    interrupted = False
    with _socket(protocol) as sock:
        sock.sendto(_message(kind, flags, payload), (0, 0))
        while True:
            for answer, marks, body in _received(sock):
                interrupted |= bool(marks & _NLM_F_DUMP_INTR)
                if answer in (_NLMSG_ERROR, _NLMSG_DONE):
                    _raise(body)
                    return replies, interrupted
                replies.append(Reply(answer, body))


def _socket(protocol: int) -> socket.socket:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
    )
    sock.settimeout(_SECONDS)
    return sock


def _message(kind: int, flags: int, payload: bytes) -> bytes:
    length = _HEADER.size + len(payload)
    return _HEADER.pack(length, kind, flags | _NLM_F_REQUEST, 1, 0) + payload


def _received(sock: socket.socket) -> t.Iterator[tuple[int, int, bytes]]:
    """Receive once, and return type, flags and payload of each of the kernel's messages."""
    datagram, (sender, _groups) = sock.recvfrom(_BYTES)
    # Other processes can send to this socket too.
    while datagram and sender == 0:
        length, kind, marks, _seq, _pid = _HEADER.unpack_from(datagram)
        yield kind, marks, datagram[_HEADER.size : length]
        datagram = datagram[length + (-length % 4) :]


def _raise(body: bytes) -> None:
    """Raise what an acknowledgement or the end of a dump says."""
    code = _ERROR.unpack_from(body)[0] if body else 0
    if code:
        raise OSError(-code, os.strerror(-code))
