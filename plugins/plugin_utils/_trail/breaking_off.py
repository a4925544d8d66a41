# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notices that a run ends early. Ansible does not tell a callback about that."""

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
# These end the process without a hook of Ansible's.
_ENDING = (signal.SIGTERM, signal.SIGHUP)
# Ansible makes an exception of it. That must not be raised between the writing of a line and the note that it is written.
_SIGNALS = (*_ENDING, signal.SIGINT)


class BreakingOff:
    """Calls ``finish`` with the reason when a run ends early: by a signal, by Ctrl-C, or by an error of Ansible's own.

    ``finish`` does nothing when the run has ended already.
    """

    def __init__(self, finish: t.Callable[[str], None]) -> None:
        self._finish = finish
        # Ansible's workers are forks of this process. The end of a worker is not the end of the run.
        self._owner = os.getpid()
        self._waiting: int | None = None
        self._before: dict[int, t.Any] = {}
        # The thread that writes at this moment.
        self._busy: int | None = None

    def watch(self) -> None:
        """Begin to watch. Call it again for each run, because Ansible sets handlers of its own for each."""
        self.forget()
        atexit.register(self._at_exit)
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before not in (self._on_signal, signal.SIG_IGN, None):
                self._before[number] = before
                signal.signal(number, self._on_signal)

    def forget(self) -> None:
        """Do nothing at the exit of the process."""
        atexit.unregister(self._at_exit)

    @contextlib.contextmanager
    def held_off(self) -> t.Iterator[None]:
        """Make signals wait while this thread writes."""
        outer, self._busy = self._busy, threading.get_ident()
        try:
            yield
        finally:
            self._busy = outer
            if outer is None and self._waiting is not None:
                self._pass_on(self._waiting, None)

    def _on_signal(self, number: int, frame: t.Any) -> None:
        if os.getpid() == self._owner:
            if self._busy == threading.get_ident():
                self._waiting = number
                return
            self._wait()
        self._pass_on(number, frame)

    def _wait(self) -> None:
        until = time.monotonic() + _SECONDS
        while self._busy is not None and time.monotonic() < until:
            time.sleep(0.01)

    def _pass_on(self, number: int, frame: t.Any) -> None:
        """Do what would have been done without this watch. Finish first if that ends the process at once."""
        self._waiting = None
        if number in _ENDING:
            self._end(signal.Signals(number).name)
        before = self._before[number]
        signal.signal(number, before)
        if callable(before):
            before(number, frame)
        else:
            os.kill(os.getpid(), number)

    def _at_exit(self) -> None:
        if os.getpid() == self._owner:
            self._wait()
        self._end("the user, or an error of Ansible's own")

    def _end(self, by: str) -> None:
        if os.getpid() == self._owner:
            self._finish(f"the run was broken off by {by}")
