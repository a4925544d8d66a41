# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of a fleet that only waits, and uses no processor time of this machine. fleet.py needs it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: stub
short_description: A host that is far away
description:
  - Each round trip waits as long as the environment variable BENCH_TRIP_SECONDS says, each module as long as
    BENCH_MODULE_SECONDS says, and one in ten BENCH_SLOW_SECONDS more. The module is not run; it answers that
    nothing is to change.
  - What prepares a module (directories, copies) is done for real, on this machine.
author: virtaudit contributors
"""

import os
import time
from typing import Any

from ansible.plugins.connection.local import Connection as LocalConnection

_ANSWER = b'{"changed": false, "invocation": {"module_args": {}}}'


class Connection(LocalConnection):
    """Takes as long as ssh over a network."""

    transport = "virtaudit_stub"
    has_pipelining = True

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        """Wait, and do what the host would do, but run no module."""
        time.sleep(float(os.environ["BENCH_TRIP_SECONDS"]))
        is_module = in_data is not None or ("AnsiballZ_" in cmd and "chmod" not in cmd)
        if is_module:
            time.sleep(float(os.environ["BENCH_MODULE_SECONDS"]))
            # Ansible forks a process for each host and task, so this happens in one of ten processes.
            if os.getpid() % 10 == 0:
                time.sleep(float(os.environ["BENCH_SLOW_SECONDS"]))
            return 0, _ANSWER, b""
        answer: tuple[int, bytes, bytes] = super().exec_command(cmd, in_data, sudoable)
        return answer

    def put_file(self, in_path: str, out_path: str) -> Any:
        """Wait, and copy the file."""
        time.sleep(float(os.environ["BENCH_TRIP_SECONDS"]))
        return super().put_file(in_path, out_path)
