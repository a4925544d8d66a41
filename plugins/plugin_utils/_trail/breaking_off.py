# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sees that a run is broken off, of which Ansible tells a callback nothing."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
import typing as t

# How long a signal waits for another thread that writes.
_SECONDS = 5


class BreakingOff:
    """Calls ``finish`` with what broke the run off: SIGTERM, or a way out that leads by no hook, as Ctrl-C.

    ``finish`` does nothing once the run has ended.
    """

    def __init__(self, finish: t.Callable[[str], None]) -> None:
        self._finish = finish
        # Workers are forks of this process, and none of theirs is the end of the run.
        self._owner = os.getpid()
        self._signal: int | None = None
        self._before: t.Any = signal.SIG_DFL
        # The thread that is just writing.
        self._busy: int | None = None

    def watch(self) -> None:
        """Begin, or go on after Ansible has set a handler of its own."""
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)
        alone = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        if alone and before not in (self._on_signal, signal.SIG_IGN, None):
            self._before = before
            signal.signal(signal.SIGTERM, self._on_signal)

    @contextlib.contextmanager
    def held_off(self) -> t.Iterator[None]:
        """Have a signal wait while this thread writes."""
        outer, self._busy = self._busy, threading.get_ident()
        try:
            yield
        finally:
            self._busy = outer
        if outer is None and self._signal is not None:
            self._pass_on(self._signal, None)

    def _on_signal(self, number: int, frame: t.Any) -> None:
        if os.getpid() == self._owner:
            if self._busy == threading.get_ident():
                self._signal = number
                return
            until = time.monotonic() + _SECONDS
            while self._busy is not None and time.monotonic() < until:
                time.sleep(0.01)
        self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: t.Any) -> None:
        """Finish, and have done what would be done without us: Ansible ends this process at once."""
        self._signal = None
        self._end(signal.Signals(number).name)
        before = self._before
        signal.signal(number, before)
        if callable(before):
            before(number, frame)
        else:
            os.kill(os.getpid(), number)

    def _at_exit(self) -> None:
        self._end("the user, or an error of Ansible's own")

    def _end(self, by: str) -> None:
        if os.getpid() == self._owner:
            self._finish(f"the run was broken off by {by}")
