# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A monitor that answers slowly, with garbage or not at all. It is a relay in front of a real qemu's monitor."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
import uuid as uuidlib
from collections.abc import Iterator

from ansible_collections.virtaudit.qemu.tests.fault import host, runner, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    MACVTAP,
    TAP,
    attach,
    detach,
    vm_name,
)

# Each kind of misbehaviour of the relay at one answer of qemu, with the message that the task then gives.
MANNERS = {
    "silent": "did not (?:answer|greet)",
    "garbage": "is not a QMP monitor",
    "closed": "has ended or crashed",
    "slow": "^$",
}
# An attach of two NICs gets many answers, and most of them answer the same questions.
EVERY = 4
_SLOW_SECONDS = 0.05


@dataclasses.dataclass
class _Relay:
    """Forwards between one client at a time and qemu, until the ``number``-th answer. With 0 it forwards for ever."""

    upstream: str
    manner: str
    number: int
    log: str
    answers: int = 0
    dead: bool = False

    def serve(self, server: socket.socket) -> None:
        while True:
            client, _address = server.accept()
            if self.dead:
                # The connection stays open, and nobody sends a greeting.
                client.detach()
                continue
            qemu = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with client, qemu, contextlib.suppress(OSError):
                qemu.connect(self.upstream)
                self._talk(client, qemu)

    def _talk(self, client: socket.socket, qemu: socket.socket) -> None:
        pending = b""
        while True:
            ready, _write, _error = select.select([client, qemu], [], [])
            if client in ready:
                data, fds, _flags, _address = socket.recv_fds(client, 65536, 4)
                if not data:
                    return
                if fds and not self.dead:
                    socket.send_fds(qemu, [data], fds)
                elif not self.dead:
                    qemu.sendall(data)
                # A copy that stays in this process would hold the device.
                for fd in fds:
                    os.close(fd)
            if qemu in ready:
                data = qemu.recv(65536)
                if not data:
                    return
                pending += data
                *lines, pending = pending.split(b"\n")
                for line in lines:
                    if not self._pass(client, line + b"\n"):
                        return

    def _pass(self, client: socket.socket, line: bytes) -> bool:
        """Forward an answer, or misbehave. Tell whether the connection stays open."""
        if self.dead:
            return True
        if "event" not in json.loads(line):
            self.answers += 1
            with open(self.log, "a", encoding="utf-8") as handle:
                handle.write(f"{line[:80]!r}\n")
            if self.manner == "slow":
                time.sleep(_SLOW_SECONDS)
            elif self.answers == self.number:
                if self.manner == "closed":
                    return False
                if self.manner == "silent":
                    self.dead = True
                    return True
                line = b"\xff{]" + os.urandom(64).replace(b"\n", b"") + b"\n"
        client.sendall(line)
        return True


def points(manner: str) -> list[tuple[int, str]]:
    """Return the answers that an attach of two NICs waits for, each with its text."""
    with tempfile.TemporaryDirectory() as work:
        _result, problems = _try(work, "none", 0)
        if problems:
            raise SystemExit(f"through a relay: {problems}")
        with open(f"{work}/log", encoding="utf-8") as handle:
            answers = handle.read().splitlines()
    if manner == "slow":
        return [(0, "every answer")]
    return list(enumerate(answers, 1))


def attempt(manner: str, number: int) -> tuple[runner.Result, list[str]]:
    """Attach through a relay that misbehaves at one answer, and then without the relay. Return the violations."""
    with tempfile.TemporaryDirectory() as work:
        return _try(work, manner, number)


def _try(work: str, manner: str, number: int) -> tuple[runner.Result, list[str]]:
    uuid = str(uuidlib.uuid4())
    real, relayed = f"{work}/real.sock", f"{work}/relay.sock"
    problems = []
    with _qemu(uuid, real):
        try:
            with _relay(relayed, _Relay(real, manner, number, f"{work}/log")):
                patience = 1 if manner == "silent" else 10
                result = runner.run_module(
                    *attach(uuid, [TAP, MACVTAP], qmp_socket=relayed, timeout=patience)
                )
            problems += _judge(manner, result)
            again = runner.run_module(
                *attach(uuid, [TAP, MACVTAP], qmp_socket=real, timeout=10)
            )
            if again.get("failed", not again):
                problems.append(f"the next run fails: {again.get('msg', 'no result')}")
            problems += witness.violations(uuid, MACS, MACS, True)
        finally:
            end = runner.run_module(*detach(uuid, qmp_socket=real, stop_vm="destroy"))
            left = witness.violations(uuid, MACS, [], False)
            host.sweep(uuid, MACS)
    if end.get("failed", not end):
        problems.append(f"the VM cannot be stopped: {end.get('msg', 'no result')}")
    return result, problems + [f"at the end: {text}" for text in left]


def _judge(manner: str, result: runner.Result) -> list[str]:
    if not result or "traceback" in result:
        return [f"the task has no result: {result.get('traceback')}"]
    if result.get("failed"):
        said = result["msg"]
        if not re.search(MANNERS.get(manner, "^$"), said):
            return [f"the task says {said!r}"]
        return []
    # After everything is done, nobody needs the answer.
    return []


@contextlib.contextmanager
def _qemu(uuid: str, path: str) -> Iterator[None]:
    """Run a qemu that the collection did not start."""
    words = (
        f"qemu-system-x86_64 -name guest={vm_name(uuid)} -uuid {uuid} -machine q35 -accel tcg -m 64 -S"
        f" -nodefaults -display none -daemonize -qmp unix:{path},server=on,wait=off"
        " -device pcie-root-port,id=rp0,chassis=1,slot=1"
        " -device pcie-root-port,id=rp1,chassis=2,slot=2"
    )
    subprocess.run(words.split(), check=True)
    try:
        yield
    finally:
        host.sweep(uuid, MACS)


@contextlib.contextmanager
def _relay(path: str, relay: _Relay) -> Iterator[None]:
    """Run a relay in a process of its own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen(8)
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                relay.serve(server)
            finally:
                os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
