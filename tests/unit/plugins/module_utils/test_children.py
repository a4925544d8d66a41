# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._children import (
    spread,
)


@pytest.fixture(autouse=True)
def fixture_leaves_nothing() -> t.Iterator[None]:
    """Whatever happens, no child and no descriptor must be left."""
    before = os.listdir("/proc/self/fd")
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_answers_come_in_order(count: int) -> None:
    def work(index: int) -> list[t.Any]:
        return [index, b"x" * index]

    assert list(spread(work, count)) == [[i, b"x" * i] for i in range(count)]


def test_the_work_is_done_in_other_processes() -> None:
    pids = {answer[0] for answer in spread(lambda _index: [os.getpid()], 10)}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_answers_larger_than_a_pipe() -> None:
    sizes = [len(answer[0]) for answer in spread(lambda _index: [bytes(1 << 20)], 5)]
    assert sizes == [1 << 20] * 5


def test_an_error_is_passed_on() -> None:
    def work(index: int) -> list[t.Any]:
        if index == 2:
            raise OSError(5, "Input/output error")
        return [index]

    answers = spread(work, 5)
    assert [next(answers), next(answers)] == [[0], [1]]
    with pytest.raises(OSError, match="Input/output error"):
        next(answers)


@pytest.mark.parametrize("how", ["killed", "raises", "cannot be written", "exits"])
def test_a_child_that_ends_early_is_an_error(
    how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def work(index: int) -> list[t.Any]:
        if index == 3:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "exits":
                raise SystemExit(0)
            if how == "raises":
                raise ValueError("a bug")
            return [object()]
        return [index]

    answers = spread(work, 6)
    assert [next(answers) for _number in range(3)] == [[0], [1], [2]]
    with pytest.raises(OSError, match="ended before it was done"):
        next(answers)
    # A module's standard output is its result alone.
    assert capfd.readouterr().out == ""


def test_a_child_that_is_killed_in_the_middle_of_an_answer_is_an_error() -> None:
    def work(index: int) -> list[t.Any]:
        return [os.getpid(), bytes(1 << 22)] if index == 2 else [os.getpid()]

    answers = spread(work, 4)
    child = next(answers)[0]
    next(answers)
    # Its pipe holds a part of the answer, and no more until somebody reads that.
    os.kill(child, signal.SIGKILL)
    with pytest.raises(OSError, match="ended before it was done"):
        next(answers)


def test_a_reader_that_stops_early_leaves_no_child() -> None:
    answers = spread(lambda index: [index, bytes(1 << 20)], 1000)
    assert next(answers)[0] == 0
    t.cast("t.Generator[object, None, None]", answers).close()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_host_without_room_for_a_child(
    fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fork, []

    def fork() -> int:
        calls.append(1)
        if len(calls) == fails_at:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real()

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(OSError, match="temporarily unavailable"):
        next(spread(lambda index: [index], 10))
