# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MonitorError,
    QmpError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import monitor
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.monitor import (
    Monitor,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qmp import Client, Server

PLENTY = 10.0
LITTLE = 0.1


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path) -> str:
    return str(tmp_path / "q")


def fails(path: str, script: t.Callable[[Client], None], words: str) -> None:
    with Server(path, script), pytest.raises(MonitorError) as caught:
        talk(path)
    assert words in str(caught.value)
    assert path in str(caught.value)
    assert not isinstance(caught.value, QmpError)


def talk(path: str) -> None:
    with Monitor(path, 0.3) as session:
        session.execute("query-name")


def test_silent_at_the_greeting(path: str) -> None:
    left = threading.Event()

    def script(client: Client) -> None:
        left.wait(PLENTY)

    with Server(path, script):
        started = time.monotonic()
        with pytest.raises(MonitorError, match=r"did not greet on .* within 0\.3 s"):
            talk(path)
        assert 0.25 < time.monotonic() - started < 5
        left.set()


def test_silent_at_a_command(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.receive()
        client.wait_end()

    fails(path, script, "qemu did not answer query-name within 0.3 s")


@pytest.mark.parametrize(("seconds", "waits"), [(0.2, "0.2"), (60, "0.3")])
def test_a_shorter_wait_for_an_answer(path: str, seconds: float, waits: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        late = client.receive()
        client.receive()
        # The late answer is not taken for that of the next command.
        client.send({"return": "late", "id": late["id"]})
        client.send({"return": "next", "id": late["id"] + 1})

    with Server(path, script), Monitor(path, 0.3) as session:
        words = f"did not answer query-name within {waits} s"
        with session.within(seconds), pytest.raises(MonitorError, match=words):
            session.execute("query-name")
        assert session.timeout == 0.3
        assert session.execute("query-status") == "next"


def test_many_slow_answers_do_not_prolong_the_wait(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        first = client.receive()["id"]
        with contextlib.suppress(OSError):
            for number in range(100):
                time.sleep(0.1)
                client.send({"return": {}, "id": first + number})

    with Server(path, script), Monitor(path, 0.3) as session:
        commands: list[tuple[str, dict[str, t.Any]]] = [("qom-get", {})] * 100
        started = time.monotonic()
        words = r"did not answer qom-get within 0\.5 s"
        refused = pytest.raises(MonitorError, match=words)
        # The time of a part ends no later than that of the whole.
        with session.altogether(0.5), refused, session.altogether(60):
            session.try_all(commands)
        assert time.monotonic() - started < 5
        assert session._limit == (math.inf, math.inf)


def test_events_do_not_prolong_the_wait(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        with contextlib.suppress(OSError):
            for _number in range(1000):
                client.send({"event": "A"})
                time.sleep(0.01)

    fails(path, script, "qemu did not answer query-name within 0.3 s")


def test_end_in_the_middle_of_a_command(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.receive()
        client.raw(b'{"return": {}')

    fails(path, script, "is gone (closed the connection): qemu has ended or crashed")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "is not a QMP monitor: it sent b'SSH-2.0-OpenSSH_9.2",
        ),
        (b"\xff\xfe\n", "is not a QMP monitor: it sent"),
        (b"\n", "is not a QMP monitor: it sent"),
        (b"[]\n", "is not a QMP monitor: it sent b'[]'"),
        (b"[" * 200_000 + b"\n", "is not a QMP monitor: it sent b'[[["),
        (b'{"event": "A", "data": null}\n', "is not a QMP monitor: it sent"),
        (b'{"event": "A", "data": "x"}\n', "is not a QMP monitor: it sent"),
        (b'{"QGA": {}}\n', "is not a QMP monitor: it greeted with {'QGA': {}}"),
        (b"", "is gone (closed the connection)"),
    ],
)
def test_garbage_at_the_greeting(path: str, data: bytes, words: str) -> None:
    fails(path, lambda client: client.raw(data), words)


def test_garbage_at_a_command(path: str) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.receive()
        client.raw(b"qemu-system: boom\n")

    fails(path, script, "is not a QMP monitor: it sent b'qemu-system: boom'")


@pytest.mark.parametrize("error", ["x", None, [], 1])
def test_an_error_that_is_none(path: str, error: t.Any) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.send({"error": error, "id": client.receive()["id"]})

    with Server(path, script), pytest.raises(MonitorError) as caught:
        talk(path)
    assert "qemu answered query-name with" in str(caught.value)
    assert not isinstance(caught.value, QmpError)


def test_text_without_end(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_MAX_LINE_BYTES", 1000)
    fails(path, lambda client: client.raw(b"x" * 1001), "it sends without end")


def test_no_socket(path: str) -> None:
    with pytest.raises(
        MonitorError, match=r"there is no QMP socket .*; check that the VM runs"
    ):
        Monitor(path, LITTLE)


def test_nobody_listens(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(path)
    with pytest.raises(MonitorError, match="nobody listens on the QMP socket"):
        Monitor(path, LITTLE)


def test_a_path_that_no_socket_can_have(path: str) -> None:
    with pytest.raises(
        MonitorError, match=r"cannot connect to the QMP socket .*too long"
    ):
        Monitor(path + 120 * "x", LITTLE)


def test_busy(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.connect(path)
            with pytest.raises(
                MonitorError, match="is busy, because other clients already wait on it"
            ):
                Monitor(path, LITTLE)


def test_a_monitor_that_is_busy_for_a_moment(path: str) -> None:
    """Otherwise a task that ends a VM with a silent monitor would kill a healthy qemu."""

    def script(client: Client) -> None:
        # Each client gets a greeting when the one before it has left.
        client.greet()
        client.wait_end()

    def leave() -> None:
        time.sleep(2 * LITTLE)
        waiting.accept()[0].close()
        connection, _address = waiting.accept()
        with connection:
            script(Client(connection))

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
        waiting.bind(path)
        waiting.listen(0)
        first = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with first:
            first.connect(path)
            server = threading.Thread(target=leave)
            server.start()
            Monitor(path, PLENTY).close()
            server.join(PLENTY)


def test_a_qemu_that_does_not_read(path: str) -> None:
    left = threading.Event()

    def script(client: Client) -> None:
        client.greet()
        left.wait(PLENTY)

    with Server(path, script), Monitor(path, 0.3) as session:
        with pytest.raises(MonitorError) as caught:
            session.execute("qom-list", {"path": "x" * 4_000_000})
        left.set()
    assert "within 0.3 s" in str(caught.value)
    assert "gone" not in str(caught.value)
