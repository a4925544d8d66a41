# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that live as long as a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import (
    Process,
    all_processes,
)

Start = t.Callable[..., "subprocess.Popen[bytes]"]


@contextlib.contextmanager
def children() -> t.Iterator[Start]:
    """Yield a function that starts children, which sleep until the test ends.

    ``name`` is their argv[0], and ``program`` is the program that they run, from :func:`a_program`.
    """
    started = []

    def start(
        *arguments: str,
        name: str = "sleeper",
        program: Path | None = None,
        **options: t.Any,
    ) -> subprocess.Popen[bytes]:
        code = "import time; print(1, flush=True); time.sleep(60)"
        if program is not None:
            # A shell, which waits for input that never comes.
            code, options["stdin"] = "echo 1; read x", subprocess.PIPE
        child = subprocess.Popen(
            [name, "-c", code, *arguments],
            executable=program or sys.executable,
            stdout=subprocess.PIPE,
            **options,
        )
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        return child

    try:
        yield start
    finally:
        for child in started:
            child.kill()
            child.communicate()


def a_program(path: Path) -> Path:
    """Make a program with a given name that a child can run. It is a copy of the shell."""
    shutil.copy("/bin/sh", path)
    return path


def without_others() -> t.Iterator[Process]:
    """Yield the processes of this host, without those that another worker of pytest has started.

    All fake qemus have the same UUID.
    """
    for process in all_processes():
        parent = _parent_of(process.pid)
        if parent == os.getpid() or _parent_of(parent) != os.getppid():
            yield process


def _parent_of(pid: int) -> int:
    """Return the pid of the parent of a process, or 0 if the process has ended."""
    try:
        status = Path("/proc", str(pid), "stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    return int(status.rpartition(")")[2].split()[1])


def process_of(child: subprocess.Popen[bytes]) -> Process:
    """Return the process of a living child."""
    found = Process.of(child.pid)
    assert found is not None
    return found
