# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The messages that go to the kernel by netlink, and the answers that count."""

from __future__ import annotations

import errno
import socket
import struct
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._net import netlink

HEADER = struct.Struct("=IHHII")
ERROR, DONE, OTHER = 2, 3, 99
BEGIN, END = 16, 17
ACK, MULTI_INTERRUPTED = 0x4, 0x12


def message(kind: int, number: int, body: bytes, flags: int = 0) -> bytes:
    head = HEADER.pack(HEADER.size + len(body), kind, flags, number, 0)
    return head + body + bytes(-len(body) % 4)


def acknowledged(number: int, code: int = 0) -> bytes:
    return message(ERROR, number, struct.pack("=i", -code))


class FakeSocket:
    """Answers each exchange with datagrams that a test makes from its number. ``sender`` 0 is the kernel."""

    def __init__(self, *answers: t.Callable[[int], list[bytes]]) -> None:
        self.sent: list[bytes] = []
        self.closed = False
        self.sender = 0
        self._answers = list(answers)
        self._queue: list[tuple[bytes, int]] = []

    def settimeout(self, seconds: float) -> None:
        """Ignore the timeout."""

    def close(self) -> None:
        self.closed = True

    def sendto(self, data: bytes, address: t.Any) -> None:
        self.sent.append(data)
        # Each message has a number of its own. The answer has the number of the first message.
        number = numbers_of(data)[0]
        self._queue += [(each, self.sender) for each in self._answers.pop(0)(number)]

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        if not self._queue:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")
        datagram, sender = self._queue.pop(0)
        return datagram, (sender, 0)


def numbers_of(sent: bytes) -> list[int]:
    found = []
    while sent:
        length, _kind, _flags, number, _pid = HEADER.unpack_from(sent)
        found.append(number)
        sent = sent[length:]
    return found


@pytest.fixture(name="opened")
def fixture_opened(monkeypatch: pytest.MonkeyPatch) -> list[FakeSocket]:
    """Sockets that are opened one after the other."""
    sockets: list[FakeSocket] = []
    waiting = iter(sockets)
    monkeypatch.setattr(netlink, "_sockets", {})
    monkeypatch.setattr(socket, "socket", lambda *kind: next(waiting))
    return sockets


def kinds_of(sent: bytes) -> list[tuple[int, int]]:
    found = []
    while sent:
        length, kind, flags, _number, _pid = HEADER.unpack_from(sent)
        found.append((kind, flags))
        sent = sent[length:]
    return found


def test_a_socket_serves_all_questions(opened: list[FakeSocket]) -> None:
    def answer(number: int) -> list[bytes]:
        late = message(OTHER, number - 1, b"late")
        return [late + message(OTHER, number, b"mine") + acknowledged(number)]

    opened.append(FakeSocket(answer, answer))

    for _question in range(2):
        found = netlink.talk(netlink.NETLINK_NETFILTER, 2561, 0, b"")
        assert [reply.payload for reply in found] == [b"mine"]


def test_another_process_is_not_the_kernel(opened: list[FakeSocket]) -> None:
    opened.append(FakeSocket(lambda number: [acknowledged(number)]))
    opened[0].sender = 4711

    with pytest.raises(TimeoutError):
        netlink.talk(netlink.NETLINK_NETFILTER, 2561, 0, b"")
    assert opened[0].closed


def test_an_error_is_the_kernels_errno_and_the_next_question_has_another_socket(
    opened: list[FakeSocket],
) -> None:
    opened.append(FakeSocket(lambda number: [acknowledged(number, errno.ENOENT)]))
    opened.append(FakeSocket(lambda number: [acknowledged(number)]))

    with pytest.raises(OSError, match="No such file") as caught:
        netlink.talk(netlink.NETLINK_NETFILTER, 2561, 0, b"")
    assert caught.value.errno == errno.ENOENT


def test_a_dump_that_was_interrupted_is_asked_for_again(
    opened: list[FakeSocket],
) -> None:
    def dump(flags: int, text: bytes) -> t.Callable[[int], list[bytes]]:
        return lambda number: [
            message(OTHER, number, text, flags) + message(DONE, number, bytes(4))
        ]

    opened.append(FakeSocket(dump(MULTI_INTERRUPTED, b"old "), dump(0, b"new ")))

    found = netlink.talk(netlink.NETLINK_ROUTE, 18, netlink.NLM_F_DUMP, b"")
    assert [reply.payload for reply in found] == [b"new "]


@pytest.mark.parametrize("dry", [False, True])
def test_a_transaction_is_framed_and_each_order_is_acknowledged(
    opened: list[FakeSocket], dry: bool
) -> None:
    opened.append(
        FakeSocket(lambda number: [acknowledged(number + 1), acknowledged(number + 2)])
    )
    orders = [netlink.Order(2572, 0x400, b"1234"), netlink.Order(2574, 0, b"5678")]

    netlink.transact(10, orders, dry)

    framed = [(BEGIN, 1), (2572, 0x401 | ACK), (2574, 1 | ACK)]
    assert kinds_of(opened[0].sent[0]) == framed + ([] if dry else [(END, 1)])


def test_a_transaction_fails_with_its_first_order_that_fails(
    opened: list[FakeSocket],
) -> None:
    opened.append(
        FakeSocket(
            lambda number: [
                acknowledged(number + 1),
                acknowledged(number + 2, errno.EEXIST),
            ]
        )
    )

    with pytest.raises(OSError, match="File exists"):
        netlink.transact(10, [netlink.Order(2572, 0, b"")] * 2)


def test_each_of_many_questions_has_its_answer(opened: list[FakeSocket]) -> None:
    def answer(count: int) -> t.Callable[[int], list[bytes]]:
        return lambda number: [
            (
                acknowledged(number, errno.ENOENT)
                if number == first
                else message(OTHER, number, b"%04d" % number)
            )
            for first in (number,)
            for number in range(first, first + count)
        ]

    opened.append(FakeSocket(answer(16), answer(4)))

    found = netlink.ask_each(12, [netlink.Order(2573, 0, b"")] * 20)

    assert [isinstance(each, int) for each in found] == (
        [True] + [False] * 15 + [True] + [False] * 3
    )
    assert len(numbers_of(opened[0].sent[0])) == 16
