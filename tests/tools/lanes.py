# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run layers in lanes. The lanes run side by side, and the layers of a lane one after the other.

    lanes.py --aside "lint sanity" --lane "integration fault" [make's variables]

A lane that is given with --aside runs at a lower priority, because it has less to do and would only delay the others.
Each layer is a target of make. All layers run, even if one fails, and the summary names those that failed. The output
of a layer is shown when it ends. Until then you can follow it in .cache/layers/<layer>.log. A signal ends all layers.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from types import FrameType

# How many seconds a layer may take to end after a signal, because molecule has to end its virtual
# hypervisors.
_END_SECONDS = 90
# They get the time that the other layers leave (sched(7): SCHED_IDLE). With nice, they made the others slower.
_GIVING_WAY = ["chrt", "--idle", "0"]


class Lanes:
    """The lanes of one run."""

    def __init__(self, variables: Sequence[str]) -> None:
        self._variables = list(variables)
        self._print = threading.Lock()
        self._running: dict[int, str] = {}
        self._ended = threading.Event()

    def run(
        self, lanes: Sequence[Sequence[str]], aside: Sequence[Sequence[str]]
    ) -> bool:
        """Run all lanes to their end. Return whether they ended without a signal."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        threads = [
            threading.Thread(target=self._lane, args=(lane, before))
            for group, before in ((lanes, []), (aside, _GIVING_WAY))
            for lane in group
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            # The signal handler runs in this thread, between two of its checks.
            while thread.is_alive():
                thread.join(0.2)
        return not self._ended.is_set()

    def _lane(self, layers: Sequence[str], before: Sequence[str]) -> None:
        for layer in layers:
            if not self._ended.is_set():
                self._layer(layer, before)

    def _layer(self, layer: str, before: Sequence[str]) -> None:
        self._say(f"==== {layer}: begins")
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [*before, "make", "--no-print-directory", layer, *self._variables],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own, so that a signal reaches all that the layer has started.
                start_new_session=True,
            )
            self._running[process.pid] = layer
            # A signal may have come before this process existed.
            if self._ended.is_set():
                _signal(process.pid, signal.SIGTERM)
            code = process.wait()
            _wait(process.pid)
            del self._running[process.pid]
            output.seek(0)
            text = output.read().decode(errors="replace")
        self._say(f"==== {layer}: what it wrote\n{text}==== {layer}: ended with {code}")

    def _say(self, text: str) -> None:
        with self._print:
            print(text, flush=True)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._ended.set()
        # This takes no lock, because this thread may hold it.
        names = ", ".join(self._running.values())
        os.write(2, f"==== signal {number}: ending {names}\n".encode())
        for group in list(self._running):
            _signal(group, signal.SIGTERM)


def _environment() -> dict[str, str]:
    """Return the environment without make's variables, because the pipes of its job server do not reach here."""
    return {
        key: value
        for key, value in os.environ.items()
        if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }


def _signal(group: int, number: int) -> bool:
    """Send a signal to a group of processes. Return whether the group has a process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
        return True
    return False


def _wait(group: int) -> None:
    """Wait for the processes that the first process of a group left running, and end those that do not end."""
    end = time.monotonic() + _END_SECONDS
    while _signal(group, 0):
        if time.monotonic() > end:
            _signal(group, signal.SIGKILL)
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lane", action="append", required=True)
    parser.add_argument("--aside", action="append", default=[])
    options, variables = parser.parse_known_args()
    lanes = [lane.split() for lane in options.lane]
    aside = [lane.split() for lane in options.aside]
    return 0 if Lanes(variables).run(lanes, aside) else 1


if __name__ == "__main__":
    sys.exit(main())
