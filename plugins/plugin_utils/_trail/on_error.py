# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens when the trail cannot be written: the run goes on with one warning, or it ends."""

from __future__ import annotations

import os
import signal
import threading
import typing as t

from ansible import constants


class OnError:
    """Says once for each run what is wrong. With ``abort`` it then ends the run."""

    def __init__(self, display: t.Any) -> None:
        self._display = display
        self._abort = False
        self._complained = False
        self._aborted = False

    def begin(self, abort: bool) -> None:
        """A run begins."""
        self._abort, self._complained = abort, False
        if abort:
            signal.signal(signal.SIGUSR1, _leave)

    def complain(self, problem: str) -> None:
        """Say what is wrong, and end the run if it shall end."""
        if not self._complained:
            self._complained = True
            effect = (
                "The run ends here (on_error: abort)"
                if self._abort
                else "The run goes on without it (on_error: warn)"
            )
            self._display.error(f"THE AUDIT TRAIL CANNOT BE KEPT: {problem}. {effect}.")
            self._aborted = self._abort
        self.end_if_aborted()

    def end_if_aborted(self) -> None:
        """End the run if a line could not be written before, and the run shall end then."""
        if not self._aborted:
            return
        if threading.current_thread() is threading.main_thread():
            _leave()
        # Ansible calls for items of loops from a thread of its own. An exit would end only that thread.
        os.kill(os.getpid(), signal.SIGUSR1)

    def forget(self) -> None:
        """The run ends anyway."""
        self._aborted = False


def _leave(*_signal: object) -> t.NoReturn:
    """End the run, from the main thread."""
    # A second exit would break off what Ansible does on its way out.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Ansible would let the workers go on for half a second, and in this time one of them can begin the next item. This
    # code must not kill them: a worker that sends a result holds the lock of the queue, and Ansible would wait for it.
    constants.WORKER_SHUTDOWN_POLL_COUNT = 0
    raise SystemExit(1)
