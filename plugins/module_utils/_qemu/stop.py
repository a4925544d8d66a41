# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stops a VM: by its guest's power button, or by the end of qemu. Sources: QMP ``system_powerdown``, ``quit``."""

from __future__ import annotations

import contextlib
import time

from .._errors import MonitorError
from .._proc import Process
from .monitor import Monitor

# illumos takes a second press of the power button within 1.5 seconds as a cancellation. OpenStack Nova uses this
# pause too.
_PRESS_SECONDS = 10.0
_QUIT_SECONDS = 3.0
_KILL_SECONDS = 5.0


def shut_down(monitor: Monitor, process: Process, seconds: float) -> bool:
    """Press the guest's power button until qemu has ended. Tell whether it has ended within ``seconds``.

    A guest that is not up yet misses a press, so it is repeated.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        # A qemu that does not answer must not take longer than the guest has.
        with monitor.within(left):
            _tell(monitor, "system_powerdown")
        left = max(0.0, deadline - time.monotonic())
        if process.wait_end(min(left, _PRESS_SECONDS)):
            return True


def destroy(monitor: Monitor, process: Process) -> bool:
    """End qemu, whatever its guest does. Tell whether it has ended."""
    # A qemu that does not answer gets no longer than one that does not end.
    with monitor.within(_QUIT_SECONDS):
        _tell(monitor, "quit")
    if process.wait_end(_QUIT_SECONDS):
        return True
    process.kill()
    return process.wait_end(_KILL_SECONDS)


def _tell(monitor: Monitor, command: str) -> None:
    """Send a command that ends qemu, perhaps before it answers."""
    with contextlib.suppress(MonitorError):
        monitor.execute(command)
