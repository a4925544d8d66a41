# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the messages of nftables for the kernel, and reads the kernel's answers.

libnftables reads every link of the host, or every element of a table, before it answers or changes anything. This
takes 25 ms with a thousand NICs. The kernel answers these messages in microseconds. Sources:
``include/uapi/linux/netfilter/nf_tables.h``, libnftnl's ``udata.h``.
"""

from __future__ import annotations

import socket
import typing as t

from .. import netlink
from .ruleset import Family, name_of

NEWTABLE, GETTABLE = 0, 1
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE = 6, 7
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14
_GETGEN = 16

_SUBSYSTEM = 10
_FAMILIES = {"bridge": 7, "netdev": 5, "ingress": 5}
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_GENERATION = 1
_COMMENT = 0


def ask(
    kind: int, flags: int, family: Family, request: bytes
) -> list[list[tuple[int, bytes]]]:
    """Ask a question and return the attributes of each answer. Raises :class:`OSError` with the kernel's errno."""
    replies = netlink.talk(
        netlink.NETLINK_NETFILTER, _type(kind), flags, _header(family) + request
    )
    return [_attributes(reply) for reply in replies]


def ask_each(
    kind: int, family: Family, requests: t.Sequence[bytes]
) -> list[list[tuple[int, bytes]] | int]:
    """Ask several questions that have one answer each. Return for each question the attributes or the kernel's errno.

    Raises :class:`OSError` if the kernel does not answer.
    """
    orders = [order(kind, family, request, 0) for request in requests]
    answers = netlink.ask_each(netlink.NETLINK_NETFILTER, orders)
    return [each if isinstance(each, int) else _attributes(each) for each in answers]


def generation() -> int:
    """Return the number of transactions that nftables has carried out. Raises :class:`OSError`."""
    (answer,) = ask(_GETGEN, 0, "bridge", b"")
    return int.from_bytes(dict(answer)[_GENERATION], "big")


def order(
    kind: int, family: Family, request: bytes, flags: int = netlink.NLM_F_CREATE
) -> netlink.Order:
    """Return one order of a transaction."""
    return netlink.Order(_type(kind), flags, _header(family) + request)


def transact(orders: t.Sequence[netlink.Order], dry: bool = False) -> None:
    """Give orders to nftables. It carries out all of them or none. With ``dry`` it only tries them.

    Raises :class:`OSError` with the kernel's errno.
    """
    netlink.transact(_SUBSYSTEM, orders, dry)


def elements(family: Family, name: str, listed: t.Sequence[bytes]) -> bytes:
    """Return the attributes of a message about elements of one set."""
    names = text(_LIST_TABLE, name_of(family)) + text(_LIST_SET, name)
    return names + netlink.nested(_LIST_ELEMENTS, *listed)


def listed(answer: list[tuple[int, bytes]]) -> list[bytes]:
    """Return the entries of the list in an answer about elements."""
    return [
        value
        for kind, data in answer
        if kind == _LIST_ELEMENTS
        for _kind, value in netlink.attributes(data)
    ]


def text(kind: int, value: str) -> bytes:
    """Return an attribute with a name."""
    return netlink.attribute(kind, value.encode("ascii") + b"\0")


def string(value: bytes) -> str:
    """Return the name in an attribute."""
    return value.rstrip(b"\0").decode("utf-8", "replace")


def number(kind: int, value: int) -> bytes:
    """Return an attribute with a number."""
    return netlink.attribute(kind, value.to_bytes(4, "big", signed=value < 0))


def userdata(kind: int, comment: str) -> bytes:
    """Return an attribute with a comment."""
    value = comment.encode("ascii") + b"\0"
    return netlink.attribute(kind, bytes([_COMMENT, len(value)]) + value)


def comment(data: bytes | None) -> str | None:
    """Return the comment in an attribute."""
    while data and len(data) > 2:
        kind, length = data[0], data[1]
        if kind == _COMMENT:
            return string(data[2 : 2 + length])
        data = data[2 + length :]
    return None


def _attributes(reply: netlink.Reply) -> list[tuple[int, bytes]]:
    return netlink.attributes(reply.payload[netlink.NETFILTER.size :])


def _type(kind: int) -> int:
    return _SUBSYSTEM << 8 | kind


def _header(family: Family) -> bytes:
    return netlink.NETFILTER.pack(_FAMILIES[family], 0, socket.htons(0))
