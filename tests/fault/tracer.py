# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module under strace(1): lists its system calls, or does harm at one of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import host, runner

# These system calls change something outside of the process, or hand something over.
CALLS = (
    "openat,ioctl,sendto,sendmsg,recvfrom,write,rename,mkdir,rmdir,unlink,flock,fsync,chmod,"
    "socket,bind,connect,listen,vfork,fork,clone,wait4,kill,pidfd_send_signal"
)
_CALL = re.compile(r"^(\w+)\(")
# Python itself makes hundreds of these calls. Only those on our files and devices count.
_OURS = {
    "openat": re.compile(r'"(/(?:dev|run/virtaudit)/[^"]*)"'),
    "ioctl": re.compile(r"^ioctl\(\d+<([^>]*)>, TUN"),
    "write": re.compile(r"^write\(\d+<(/run/virtaudit/[^>]*)>"),
}
_IGNORED = re.compile(r"^Exception ignored in.*\nTraceback", re.MULTILINE)
_UUID = "<uuid>"
_MACVTAP = "/dev/tap"
# Everything before the VM's lock only reads.
_FIRST = "flock"


_STOPPED = "--- stopped by SIGSTOP ---"
_TASK_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Point:
    """A place for a harm: the ``number``-th ``call`` of the module, on ``path`` if the path is known."""

    call: str
    number: int
    text: str
    path: str | None = None

    def __str__(self) -> str:
        return f"{self.call}#{self.number} {self.text}"

    def where(self, uuid: str) -> list[str]:
        """Return strace's options for the place. With a path, strace counts only calls on it."""
        paths = [] if self.path is None else [self.path.replace(_UUID, uuid)]
        if self.path == _MACVTAP:
            paths = [f"{_MACVTAP}{number}" for number in host.next_indexes()]
        words = [word for path in paths for word in ("-P", path)]
        return [*words, "-e", f"trace={self.call}"]


def list_points(
    name: str, arguments: dict[str, Any]
) -> tuple[dict[str, Any], list[Point]]:
    """Run a module to its end. Return its result, and its system calls from the lock on."""
    # -y prints the file of each descriptor.
    with _traced(name, arguments, ["-y", "-s", "80", "-e", f"trace={CALLS}"]) as traced:
        result, log = traced.end()
    # A task looks at more or fewer processes before this point, so its number of opens differs from
    # run to run.
    counts: dict[tuple[str, str | None], int] = {}
    locked = False
    points = []
    for line in log.split("\n"):
        match = _CALL.match(line)
        if match is None:
            continue
        call = match[1]
        locked = locked or call == _FIRST
        ours = _OURS.get(call)
        found = ours.search(line) if ours else None
        path = found[1].replace(arguments["uuid"], _UUID) if found else None
        # Each macvtap has a node with a new number.
        path = _MACVTAP if path is not None and path.startswith(_MACVTAP) else path
        counts[call, path] = counts.get((call, path), 0) + 1
        if locked and (ours is None or found):
            points.append(Point(call, counts[call, path], line[:140], path))
    return result, points


def harm_at(
    name: str, arguments: dict[str, Any], point: Point, inject: str
) -> tuple[dict[str, Any], bool]:
    """Run a module with strace's ``inject`` at a point, before the call is carried out.

    Return its result, and whether strace struck the right call. strace finds a call by its number. On a busy host a
    task makes more calls before this one, because it reads more processes and records.
    """
    words = _injecting(point, arguments["uuid"], inject)
    with _traced(name, arguments, words) as traced:
        result, log = traced.end()
    struck = [line for line in log.split("\n") if "(INJECTED)" in line]
    ours = _OURS.get(point.call)
    return result, all(ours is None or ours.search(line) for line in struck)


def pause_at(
    name: str, arguments: dict[str, Any], point: Point, action: Callable[[], None]
) -> dict[str, Any]:
    """Run a module, stop it after a point, do something, and let it go on. Return its result."""
    words = _injecting(point, arguments["uuid"], "signal=SIGSTOP")
    with _traced(name, arguments, words) as traced:
        while _STOPPED not in traced.log() and not traced.has_ended():
            time.sleep(0.002)
        if _STOPPED in traced.log():
            action()
            os.kill(traced.task.pid, signal.SIGCONT)
        return traced.task.result()


def _injecting(point: Point, uuid: str, inject: str) -> list[str]:
    inject = f"inject={point.call}:{inject}:when={point.number}"
    return ["-y", *point.where(uuid), "-e", inject]


@dataclasses.dataclass(frozen=True)
class _Traced:
    """A module that runs under strace."""

    task: runner.Running
    strace: subprocess.Popen[str]
    path: str

    def end(self) -> tuple[runner.Result, str]:
        """Wait for the end of the module and of strace. Return the module's result, and what strace wrote."""
        result = self.task.result()
        os.waitid(os.P_PID, self.task.pid, os.WEXITED | os.WNOWAIT)
        self.strace.wait()
        return result, self.log()

    def log(self) -> str:
        """Return what strace has written so far."""
        return Path(self.path).read_text(encoding="utf-8", errors="replace")

    def has_ended(self) -> bool:
        """Tell whether the module has ended."""
        ended = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self.task.pid, ended) is not None


@contextlib.contextmanager
def _traced(
    name: str, arguments: dict[str, Any], words: Sequence[str]
) -> Iterator[_Traced]:
    """Start a module, and let strace follow it from its first instruction on."""
    with tempfile.NamedTemporaryFile() as log, contextlib.ExitStack() as stack:
        waits, go = os.pipe()
        stack.callback(os.close, waits)
        # The module waits until strace is attached.
        task = stack.enter_context(
            runner.running(name, arguments, lambda: _wait(waits, go))
        )
        with contextlib.closing(os.fdopen(go, "wb", buffering=0)) as gate:
            command = ["strace", "-o", log.name, *words, "-p", str(task.pid)]
            strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            stack.callback(_end, strace)
            assert strace.stderr is not None
            said = strace.stderr.readline()
            if "attached" not in said:
                raise SystemExit(f"strace: {said}")
            gate.write(b"x")
        yield _Traced(task, strace, log.name)


def _wait(waits: int, go: int) -> None:
    os.close(go)
    os.read(waits, 1)
    os.close(waits)


def _end(strace: subprocess.Popen[str]) -> None:
    with strace:
        strace.kill()


@contextlib.contextmanager
def start(name: str, arguments: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Start a module in a Python of its own, as Ansible does. End it if it still runs when the block ends."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as handle:
        json.dump({"ANSIBLE_MODULE_ARGS": arguments}, handle)
        handle.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", runner.module_name(name), handle.name],
            env={
                **os.environ,
                "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a module. Return its result, or an empty one if it ended without a result."""
    stdout, stderr = process.communicate(timeout=_TASK_SECONDS)
    result = runner.read_result(stdout)
    # Python prints this when a module ends with an unexpected exception. It prints the same for an exception
    # that it ignores, such as one of pyroute2's event loop, which Python removes incompletely if it cannot set
    # the loop up.
    if "Traceback" in _IGNORED.sub("", stderr):
        last = stderr.strip().splitlines()[-1]
        result.update(failed=True, msg=last, traceback=last)
    return result
