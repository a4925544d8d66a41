# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    QmpError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.monitor import (
    Monitor,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qmp import (
    GREETING,
    Client,
    Server,
)

PLENTY = 10.0
LITTLE = 0.1


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path) -> str:
    return str(tmp_path / "q")


def error(command: dict[str, t.Any], kind: str, words: str) -> dict[str, t.Any]:
    return {"error": {"class": kind, "desc": words}, "id": command["id"]}


def test_session(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.answer({"status": "running"})
        client.answer()
        assert [each.get("arguments") for each in client.received] == [
            None,
            None,
            {"path": "/"},
        ]
        client.wait_end()

    with Server(path, script), Monitor(path, PLENTY) as session:
        assert session.greeting == GREETING["QMP"]
        assert session.execute("query-status") == {"status": "running"}
        assert session.execute("qom-list", {"path": "/"}) == {}
        assert session.peer() == (os.getpid(), os.geteuid())


def test_refused_command(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.send(error(client.receive(), "DeviceNotFound", "no such device"))
        client.answer("still here")

    with Server(path, script), Monitor(path, PLENTY) as session:
        with pytest.raises(
            QmpError, match="qemu refused device_del: no such"
        ) as caught:
            session.execute("device_del", {"id": "x"})
        assert (caught.value.error_class, caught.value.desc) == (
            "DeviceNotFound",
            "no such device",
        )
        assert session.execute("query-name") == "still here"


def test_pipelined_answers(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        commands = [client.receive() for _number in range(3)]
        assert [each["execute"] for each in commands] == ["a", "b", "c"]
        assert len({each["id"] for each in commands}) == 3
        client.send(
            {"return": 1, "id": commands[0]["id"]},
            {"event": "STOP"},
            error(commands[1], "GenericError", "no"),
            {"return": "late answer of another", "id": 1},
            {"return": 3, "id": commands[2]["id"]},
        )

    with Server(path, script), Monitor(path, PLENTY) as session:
        first, second, third = session.try_all([("a", {}), ("b", {"x": 1}), ("c", {})])
        assert (first, third) == (1, 3)
        assert isinstance(second, QmpError)
        assert str(second) == "qemu refused b: no"
        event = session.wait_event(time.monotonic())
        assert event == {"event": "STOP"}


def test_an_answer_in_pieces(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        number = client.receive()["id"]
        for piece in (b'{"return"', b': "a\\nb", "id": %d}\r' % number, b"\n"):
            client.raw(piece)
            time.sleep(0.01)

    with Server(path, script), Monitor(path, PLENTY) as session:
        assert session.execute("query-name") == "a\nb"


def test_an_event_before_the_greeting(path: str) -> None:
    """qemu may still send this client messages that were for the client before it."""

    def script(client: Client) -> None:
        client.send({"event": "NIC_RX_FILTER_CHANGED"})
        client.greet()
        client.answer("here")

    with Server(path, script), Monitor(path, PLENTY) as session:
        assert session.greeting == GREETING["QMP"]
        assert session.execute("query-name") == "here"
        event = session.wait_event(time.monotonic())
        assert event == {"event": "NIC_RX_FILTER_CHANGED"}


@pytest.mark.parametrize("kind", ["return", "error"])
def test_an_answer_to_the_client_before_comes_before_the_greeting(
    path: str, kind: str
) -> None:
    def script(client: Client) -> None:
        client.send({kind: {}, "id": 11})
        client.greet()
        client.answer("here")

    with Server(path, script), Monitor(path, PLENTY) as session:
        assert session.greeting == GREETING["QMP"]
        assert session.execute("query-name") == "here"


def test_an_answer_to_the_client_before_is_not_taken_for_another_answer(
    path: str,
) -> None:
    """qemu answers a command even if its client has left, and then the next client gets the answer."""
    numbers: list[int] = []

    def script(client: Client) -> None:
        client.greet()
        command = client.receive()
        client.send(*({"return": "stale", "id": number} for number in numbers))
        client.send({"return": "here", "id": command["id"]})
        numbers.append(command["id"])

    for number in range(3):
        each = f"{path}{number}"
        with Server(each, script), Monitor(each, PLENTY) as session:
            assert session.execute("query-name") == "here"


def test_events_come_in_order_around_answers(path: str) -> None:
    def script(client: Client) -> None:
        client.send(GREETING)
        command = client.receive()
        client.send({"event": "A"}, {"return": {}, "id": command["id"]})
        command = client.receive()
        client.send({"event": "B"}, {"return": {}, "id": command["id"]}, {"event": "C"})
        client.wait_end()

    with Server(path, script), Monitor(path, PLENTY) as session:
        session.execute("cont")
        deadline = time.monotonic() + PLENTY
        names = [session.wait_event(deadline) for _number in range(3)]
        assert names == [{"event": "A"}, {"event": "B"}, {"event": "C"}]
        assert session.wait_event(time.monotonic() + LITTLE) is None


def test_events_without_end_take_no_memory(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        command = client.receive()
        client.send(*({"event": "E", "data": {"n": n}} for n in range(9000)))
        client.send({"return": {}, "id": command["id"]})
        client.wait_end()

    with Server(path, script), Monitor(path, PLENTY) as session:
        session.execute("cont")
        # The newest ones are kept.
        assert len(session._events) < 9000
        assert session._events[-1]["data"] == {"n": 8999}


def test_long_events_take_no_memory(path: str) -> None:
    """A few thousand events of 16 MiB each would fill the memory of the host."""

    def script(client: Client) -> None:
        client.greet()
        command = client.receive()
        for number in range(8):
            client.send({"event": "E", "data": {"n": number, "text": "x" * 2**20}})
        client.send({"event": "E", "data": {"path": "x" * 255}})
        client.send({"return": {}, "id": command["id"]})
        client.wait_end()

    with Server(path, script), Monitor(path, PLENTY) as session:
        session.execute("cont")
        assert sum(len(str(event)) for event in session._events) < 2**10
        assert session._events[-1]["data"] == {"path": "x" * 255}


def test_a_stray_answer_is_no_event(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.send({"return": {}, "id": 99}, {"event": "A"})

    with Server(path, script), Monitor(path, PLENTY) as session:
        assert session.wait_event(time.monotonic() + PLENTY) == {"event": "A"}


@pytest.mark.parametrize("count", [1, 3])
def test_file_descriptors_arrive(path: str, count: int) -> None:
    ends = [os.pipe() for _number in range(count)]

    def script(client: Client) -> None:
        client.greet()
        for number in range(count):
            command = client.answer()
            assert command["arguments"] == {"fdname": f"fd{number}"}
            assert len(client.fds) == number + 1
            os.write(client.fds[number], b"through %d" % number)
        client.wait_end()

    with Server(path, script), Monitor(path, PLENTY) as session:
        for number, (_reader, writer) in enumerate(ends):
            session.execute("getfd", {"fdname": f"fd{number}"}, fd=writer)
    for number, (reader, writer) in enumerate(ends):
        os.close(writer)
        # The server closed its copies, so that a read ends.
        assert os.read(reader, 100) == b"through %d" % number
        assert os.read(reader, 100) == b""
        os.close(reader)


def test_a_long_answer(path: str) -> None:
    value = "x" * 300_000

    def script(client: Client) -> None:
        client.greet()
        client.answer(value)

    with Server(path, script), Monitor(path, PLENTY) as session:
        assert session.execute("query") == value
