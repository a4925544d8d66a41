# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends short requests to the kernel over netlink. A library would take longer for them than the rest of the task.

The import of pyroute2 takes 0.2 s, and libnftables reads all elements of a table before it answers about one element.
Sources: ``netlink(7)``, ``include/uapi/linux/netlink.h``.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import typing as t

from .._errors import LinkError

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
RTM_DELLINK = 17
# struct ifinfomsg of rtnetlink's messages: family, type, index, flags, change.
IFINFO = struct.Struct("=BxHiII")
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
_AT_ONCE = 16


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

    ``protocol`` is ``NETLINK_ROUTE`` or ``NETLINK_NETFILTER``. ``kind`` and ``flags`` go into the header. If the
    kernel says that a dump is inconsistent, ask for it again. Raises :class:`OSError` with the kernel's errno.
    """
    for _try in range(_TRIES):
        replies, interrupted = _talk(protocol, kind, flags, payload)
        if not interrupted:
            return replies
    raise LinkError(
        "the kernel's network settings kept changing while the task read them; run the task again"
    )


def ask_each(protocol: int, orders: t.Sequence[Order]) -> list[Reply | int]:
    """Ask several questions at once that have one answer each. Return for each question its answer or the kernel's errno.

    Raises :class:`OSError` if the kernel does not answer.
    """
    found: dict[int, Reply | int] = {}
    # Each answer takes a page of the socket's memory, and the socket has about fifty pages.
    for start in range(0, len(orders), _AT_ONCE):
        part = orders[start : start + _AT_ONCE]
        end = start + len(part)
        for position, answer, _marks, body in _exchange(protocol, part):
            code = -_ERROR.unpack_from(body)[0] if answer == _NLMSG_ERROR else 0
            found[start + position] = code or Reply(answer, body)
            if len(found) == end:
                break
    return [found[position] for position in range(len(orders))]


def attribute(kind: int, value: bytes) -> bytes:
    """Return a netlink attribute, padded."""
    padding = bytes(-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that contains others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes) -> list[tuple[int, bytes]]:
    """Return the type and the value of each attribute."""
    found = []
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found.append((kind & _NLA_TYPE_MASK, data[_ATTRIBUTE.size : length]))
        data = data[length + (-length % 4) :]
    return found


def transact(subsystem: int, orders: t.Sequence[Order], dry: bool = False) -> None:
    """Give orders to a part of netfilter. It carries out all of them or none. With ``dry`` it only tries them.

    Raises :class:`OSError` with the kernel's errno.
    """
    frame = NETFILTER.pack(0, 0, socket.htons(subsystem))
    batch = [Order(_BATCH_BEGIN, 0, frame)]
    batch += [each._replace(flags=each.flags | _NLM_F_ACK) for each in orders]
    if not dry:
        # Without this message the kernel takes everything back.
        batch.append(Order(_BATCH_END, 0, frame))
    answered = 0
    for _position, answer, _marks, body in _exchange(NETLINK_NETFILTER, batch):
        if answer == _NLMSG_ERROR:
            _raise(body)
            answered += 1
        if answered == len(orders):
            return


def _talk(
    protocol: int, kind: int, flags: int, payload: bytes
) -> tuple[list[Reply], bool]:
    dump = flags & NLM_F_DUMP == NLM_F_DUMP
    flags |= 0 if dump else _NLM_F_ACK
    replies: list[Reply] = []
    interrupted = False
    order = Order(kind, flags, payload)
    for _position, answer, marks, body in _exchange(protocol, [order]):
        interrupted |= bool(marks & _NLM_F_DUMP_INTR)
        if answer in (_NLMSG_ERROR, _NLMSG_DONE):
            _raise(body)
            break
        replies.append(Reply(answer, body))
    return replies, interrupted


_numbers = itertools.count(1)
# The sockets stay open. If a socket is closed after something was deleted from nftables, the kernel makes the close wait
# until the deleted objects are freed.
_sockets: dict[int, socket.socket] = {}


def _exchange(
    protocol: int, orders: t.Sequence[Order]
) -> t.Iterator[tuple[int, int, int, bytes]]:
    """Send messages, and yield the kernel's answers. The caller stops when it has all that it needs.

    Each answer has the position of the message that it answers, its type, its flags and its payload.
    """
    numbers = {next(_numbers): position for position in range(len(orders))}
    sent = b"".join(
        _HEADER.pack(
            _HEADER.size + len(payload), kind, flags | _NLM_F_REQUEST, number, 0
        )
        + payload
        for number, (kind, flags, payload) in zip(numbers, orders)
    )
    try:
        if protocol not in _sockets:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
            _sockets[protocol] = socket.socket(socket.AF_NETLINK, kind, protocol)
            _sockets[protocol].settimeout(_SECONDS)
        sock = _sockets[protocol]
        sock.sendto(sent, (0, 0))
        while True:
            datagram, (sender, _groups) = sock.recvfrom(_BYTES)
            # Other processes can send to this socket too, and an earlier exchange may have ended early.
            while datagram and sender == 0:
                length, answer, marks, asked, _pid = _HEADER.unpack_from(datagram)
                if asked in numbers:
                    body = datagram[_HEADER.size : length]
                    yield numbers[asked], answer, marks, body
                datagram = datagram[length + (-length % 4) :]
    except OSError:
        # Nobody knows which answers will still arrive on this socket.
        broken = _sockets.pop(protocol, None)
        if broken is not None:
            broken.close()
        raise


def _raise(body: bytes) -> None:
    """Raise the error that an acknowledgement or the end of a dump carries, if it carries one."""
    code = _ERROR.unpack_from(body)[0] if body else 0
    if code:
        raise OSError(-code, os.strerror(-code))
