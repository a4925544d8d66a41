# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import time
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import MonitorError
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.stop import (
    destroy,
    shut_down,
)


class Guest:
    """The monitor and the process of a VM whose guest sees the power button from ``up`` on, or never (``None``).

    Time passes only while somebody waits for its end, or for an answer of a monitor that hangs.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, up: float | None) -> None:
        self.up = up
        self.now = 0.0
        self.presses: list[float] = []
        self.timeout: float = 0
        self.hangs = False
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    @property
    def has_ended(self) -> bool:
        return self.up is not None and max(self.presses, default=-1) >= self.up

    def execute(self, command: str) -> None:
        assert command in ("system_powerdown", "quit")
        self.presses.append(self.now)
        if self.hangs:
            self.now += self.timeout
        if self.hangs or self.has_ended:
            raise MonitorError("qemu is gone, or does not answer")

    @contextlib.contextmanager
    def within(self, seconds: float) -> t.Iterator[None]:
        assert seconds > 0
        usual, self.timeout = self.timeout, min(self.timeout, seconds)
        yield
        self.timeout = usual

    def kill(self) -> None:
        self.up = 0

    def wait_end(self, seconds: float) -> bool:
        if not self.has_ended:
            self.now += seconds
        return self.has_ended


@pytest.mark.parametrize(
    ("up", "timeout", "ended", "presses"),
    [
        (0, 20, True, [0]),
        # The guest was not up yet at the first press.
        (3, 20, True, [0, 10]),
        (15, 60, True, [0, 10, 20]),
        (15, 20, False, [0, 10]),
        (None, 25, False, [0, 10, 20]),
        (None, 1, False, [0]),
    ],
)
def test_the_power_button_is_pressed_until_the_guest_sees_it(
    monkeypatch: pytest.MonkeyPatch,
    up: float | None,
    timeout: float,
    ended: bool,
    presses: list[float],
) -> None:
    guest = Guest(monkeypatch, up)
    me = t.cast(t.Any, guest)
    assert shut_down(me, me, timeout) is ended
    assert guest.presses == presses
    assert guest.now <= timeout


@pytest.mark.parametrize(
    ("timeout", "answer", "presses"),
    [(20, 20, [0]), (25, 9, [0, 19]), (60, 3, [0, 13, 26, 39, 52])],
)
def test_a_monitor_that_hangs_gets_no_longer_than_the_guest(
    monkeypatch: pytest.MonkeyPatch,
    timeout: float,
    answer: float,
    presses: list[float],
) -> None:
    """``answer`` is how long the task waits for an answer otherwise."""
    guest = Guest(monkeypatch, None)
    guest.hangs, guest.timeout = True, answer
    me = t.cast(t.Any, guest)
    assert not shut_down(me, me, timeout)
    assert guest.presses == presses
    assert guest.now == timeout
    assert guest.timeout == answer


@pytest.mark.parametrize("answer", [0, 86400])
def test_a_monitor_that_hangs_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch, answer: float
) -> None:
    guest = Guest(monkeypatch, None)
    guest.hangs, guest.timeout = True, answer
    me = t.cast(t.Any, guest)
    assert destroy(me, me)
    assert guest.now <= 10
    assert guest.timeout == answer
