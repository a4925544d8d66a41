# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module under strace(1): lists its system calls, or kills it at one of them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from typing import Any

# The calls that change something outside of the process, or hand it over.
CALLS = (
    "openat,ioctl,sendto,sendmsg,recvfrom,rename,mkdir,rmdir,unlink,flock,fsync,chmod,"
    "socket,bind,connect,listen,vfork,fork,clone,wait4,kill,pidfd_send_signal"
)
_CALL = re.compile(r"^(\w+)\(")
# Of these the interpreter makes hundreds of its own: only those on our files and devices count.
_OURS = {
    "openat": re.compile(r'"/(?:dev|run/virtaudit)/'),
    "ioctl": re.compile(r"\bTUN"),
}
# Everything before the VM's lock only reads.
_FIRST = "flock"


@dataclasses.dataclass(frozen=True)
class Point:
    """A place to kill at: the ``number``-th ``call`` of the module.

    SIGKILL comes before the call is carried out, SIGTERM after most.
    """

    call: str
    number: int
    text: str
    signal: str = "SIGKILL"

    def __str__(self) -> str:
        return f"{self.signal} at {self.call}#{self.number} {self.text}"


def run_module(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a module to its end; return its result."""
    return _run([], name, arguments)


def list_points(
    name: str, arguments: dict[str, Any]
) -> tuple[dict[str, Any], list[Point]]:
    """Run a module to its end; return its result and its system calls from the lock on."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as log:
        result = _run(
            ["strace", "-o", log.name, "-e", f"trace={CALLS}"], name, arguments
        )
        lines = log.read().split("\n")
    counts: dict[str, int] = {}
    points = []
    for line in lines:
        match = _CALL.match(line)
        if match is None:
            continue
        call = match[1]
        counts[call] = counts.get(call, 0) + 1
        ours = _OURS.get(call)
        if _FIRST in counts and (ours is None or ours.search(line)):
            points.append(Point(call, counts[call], line[:100]))
    return result, points


def kill_at(name: str, arguments: dict[str, Any], point: Point) -> bool:
    """Run a module and kill it at a point; tell whether it came there."""
    inject = f"inject={point.call}:signal={point.signal}:when={point.number}"
    result = _run(
        ["strace", "-o", os.devnull, "-e", f"trace={point.call}", "-e", inject],
        name,
        arguments,
    )
    return not result


def _run(prefix: list[str], name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as handle:
        json.dump({"ANSIBLE_MODULE_ARGS": arguments}, handle)
        handle.flush()
        module = f"ansible_collections.virtaudit.qemu.plugins.modules.{name}"
        done = subprocess.run(
            [*prefix, sys.executable, "-m", module, handle.name],
            env={
                **os.environ,
                "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    lines = done.stdout.strip().splitlines()
    result: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return result
