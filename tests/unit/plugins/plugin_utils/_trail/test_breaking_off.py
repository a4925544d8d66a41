# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A signal that comes while a line is written waits until the line is complete."""

from __future__ import annotations

import os
import signal
import threading
import time
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.breaking_off import (
    BreakingOff,
)

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Watch:
    """A watch that passes its signals on to this test, where they end nothing."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.watch = BreakingOff(self.events.append)
        for number in NUMBERS:
            signal.signal(number, self._arrived)
        self.watch.watch()

    def _arrived(self, number: int, frame: t.Any) -> None:
        self.events.append(f"passed on {signal.Signals(number).name}")


@pytest.fixture(name="watch")
def fixture_watch() -> t.Iterator[Watch]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    watch = Watch()
    yield watch
    for number, handler in before.items():
        signal.signal(number, handler)
    watch.watch.forget()


def finished(number: signal.Signals) -> list[str]:
    if number == signal.SIGINT:
        # Ansible continues to its own end, and to the hook at the exit.
        return []
    return [f"the run was broken off by {number.name}"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_for_the_line(watch: Watch, number: signal.Signals) -> None:
    with watch.watch.held_off():
        os.kill(os.getpid(), number)
        watch.events.append("written")
    assert watch.events == ["written", *finished(number), f"passed on {number.name}"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_for_the_line_of_another_thread(
    watch: Watch, number: signal.Signals
) -> None:
    writing = threading.Event()

    def write() -> None:
        with watch.watch.held_off():
            writing.set()
            time.sleep(0.3)
            watch.events.append("written")

    thread = threading.Thread(target=write)
    thread.start()
    writing.wait()
    os.kill(os.getpid(), number)
    thread.join()
    assert watch.events == ["written", *finished(number), f"passed on {number.name}"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_at_another_time_passes_at_once(
    watch: Watch, number: signal.Signals
) -> None:
    os.kill(os.getpid(), number)
    watch.events.append("after")
    assert watch.events == [*finished(number), f"passed on {number.name}", "after"]


def test_the_signal_is_passed_on_when_the_writing_fails(watch: Watch) -> None:
    def write() -> None:
        with watch.watch.held_off():
            os.kill(os.getpid(), signal.SIGTERM)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert watch.events == [
        "the run was broken off by SIGTERM",
        "passed on SIGTERM",
    ]


def test_a_fork_ends_by_itself(watch: Watch) -> None:
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(len(watch.events))
    _pid, status = os.waitpid(child, 0)
    # The watch passed the signal on, and did nothing else.
    assert os.waitstatus_to_exitcode(status) == 1
