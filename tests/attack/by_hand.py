# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does what an operator can do by hand: starts qemus, serves monitors that lie, gives devices to a VM."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.fault import qmp

_PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)
# A program that answers all questions of a client, and claims to be a VM.
_LIAR = """
import json, socket, sys
path, name, uuid = sys.argv[1:4]
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(4)
print(1, flush=True)
told = {"query-uuid": {"UUID": uuid}, "query-name": {"name": name}, "query-kvm": {"enabled": False},
        "human-monitor-command": "", "qom-list": [], "qom-get": "pc-q35"}
while True:
    client = server.accept()[0]
    try:
        client.sendall(b'{"QMP": {}}\\n')
        for line in client.makefile("r"):
            asked = json.loads(line)
            answer = {"return": told.get(asked["execute"], {}), "id": asked.get("id")}
            client.sendall(json.dumps(answer).encode() + b"\\n")
    except OSError:
        pass
"""
# A Python that another user can run, too.
_PYTHON = "/usr/bin/python3"


@contextlib.contextmanager
def qemu(path: Path, *words: str, program: str = "qemu-system-x86_64") -> Iterator[int]:
    """Run a qemu with a monitor at a path. Yield its pid."""
    command = [program, "-machine", "q35", "-accel", "tcg", "-m", "64"]
    command += ["-S", "-nodefaults", "-display", "none"]
    command += ["-qmp", f"unix:{path},server=on,wait=off", *words]
    ports = [f"pcie-root-port,id=rp{n},chassis={n},slot={n}" for n in (1, 2)]
    for port in ports:
        command += ["-device", port]
    with subprocess.Popen(command) as child:
        try:
            qmp.call(str(path), "query-status")
            yield child.pid
        finally:
            child.kill()


@contextlib.contextmanager
def liar(path: Path, name: str, uuid: str, uid: int) -> Iterator[int]:
    """Run a user's program that calls itself qemu, has a VM's UUID and serves a monitor. Yield its pid."""
    os.chown(path.parent, uid, uid)
    command = ["qemu-x", "-c", _LIAR, str(path), name, uuid]
    command += ["-uuid", uuid, "-name", f"guest={name}"]
    with subprocess.Popen(
        command, executable=_PYTHON, stdout=subprocess.PIPE, user=uid, cwd="/"
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"1\n"
            yield child.pid
        finally:
            child.kill()


def copy_of(pid: int, fd: int) -> int:
    """Copy a descriptor of another process into this one (``pidfd_getfd(2)``), and return it."""
    pidfd = os.pidfd_open(pid)
    try:
        copy = int(_libc.syscall(_PIDFD_GETFD, pidfd, fd, 0))
    finally:
        os.close(pidfd)
    if copy < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd failed")
    return copy
