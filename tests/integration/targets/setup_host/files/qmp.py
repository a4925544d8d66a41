# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain QMP for the tests: a client, and failures between a client and qemu.

qmp.py call SOCKET COMMAND [JSON]       print the answer
qmp.py hold PIDFILE SOCKET              in the background: be the monitor's only client
qmp.py listen PIDFILE SOCKET [TEXT]     in the background: accept clients, and send TEXT or nothing
qmp.py proxy PIDFILE SOCKET UPSTREAM COMMAND WHEN ACTION...
                                        in the background: forward everything, also fds; when COMMAND
                                        comes, before or after qemu gets it, do ACTION: run WORD...,
                                        kill-client, close, silence
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import typing as t


def connect(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(path)
    return client


def call(path: str, command: str, arguments: str = "{}") -> None:
    with connect(path) as client, client.makefile("rw", encoding="utf-8") as lines:
        for name, values in (("qmp_capabilities", "{}"), (command, arguments)):
            # qemu may still send answers that were for the client before.
            number = os.urandom(8).hex()
            message = {"execute": name, "arguments": json.loads(values), "id": number}
            lines.write(json.dumps(message) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
            while answer.get("id") != number:
                answer = json.loads(lines.readline())
            if "error" in answer:
                raise SystemExit(f"{name}: {answer['error']['desc']}")
    print(json.dumps(answer["return"]))


def go_to_background(pidfile: str) -> None:
    """Go to the background. The parent ends when the child is ready. The child closes everything of Ansible."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    with open(pidfile, "w", encoding="ascii") as handle:
        handle.write(f"{os.getpid()}\n")


def serve(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen(8)
    return server


def hold(pidfile: str, path: str) -> None:
    client = connect(path)
    client.recv(4096)
    go_to_background(pidfile)
    time.sleep(600)


def listen(pidfile: str, path: str, text: str = "") -> None:
    server = serve(path)
    go_to_background(pidfile)
    clients = []
    while True:
        client, _address = server.accept()
        clients.append(client)
        if text:
            client.sendall(text.encode() + b"\n")


class Proxy:
    """Serves one client at a time, like qemu."""

    def __init__(
        self, upstream: str, command: str, when: str, action: t.Sequence[str]
    ) -> None:
        self.upstream = upstream
        self.command, self.when, self.action = command, when, action
        self.done = False

    def act(self, client: socket.socket) -> bool:
        """Do the action once. Tell whether the connection stays open."""
        self.done = True
        verb, *words = self.action
        if verb == "run":
            subprocess.run(words, check=True)
            return True
        if verb == "kill-client":
            credentials = client.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=iII")
            )
            os.kill(struct.unpack("=iII", credentials)[0], signal.SIGKILL)
            return False
        if verb == "silence":
            time.sleep(600)
        return False

    def forward(self, line: bytes, fds: list[int], qemu: socket.socket) -> None:
        if fds:
            socket.send_fds(qemu, [line], fds)
        else:
            qemu.sendall(line)

    def serve_one(self, client: socket.socket) -> None:
        with client, connect(self.upstream) as qemu:
            qemu.settimeout(60)
            answers = qemu.makefile("rb")
            greeting = answers.readline()
            # qemu may first send an answer that was for the client before.
            while greeting and "QMP" not in json.loads(greeting):
                greeting = answers.readline()
            client.sendall(greeting)
            pending = b""
            while True:
                data, fds, _flags, _address = socket.recv_fds(client, 65536, 4)
                if not data:
                    return
                pending += data
                while b"\n" in pending:
                    line, _newline, pending = pending.partition(b"\n")
                    meant = not self.done and (
                        json.loads(line).get("execute") == self.command
                    )
                    goes_on = not meant or self.when != "before" or self.act(client)
                    if goes_on:
                        self.forward(line + b"\n", fds, qemu)
                    # If a copy of the descriptor stayed open here, this process would hold the device.
                    while fds:
                        os.close(fds.pop())
                    if not goes_on:
                        return
                    while True:
                        answer = answers.readline()
                        if not answer:
                            return
                        event = b'"event"' in answer and "event" in json.loads(answer)
                        done = not event and meant and self.when == "after"
                        # qemu has executed the command, and the client does not know that.
                        if done and not self.act(client):
                            return
                        client.sendall(answer)
                        if not event:
                            break


def proxy(
    pidfile: str, path: str, upstream: str, command: str, when: str, *action: str
) -> None:
    server = serve(path)
    go_to_background(pidfile)
    between = Proxy(upstream, command, when, action)
    while True:
        client, _address = server.accept()
        with contextlib.suppress(OSError):
            between.serve_one(client)


COMMANDS: dict[str, t.Callable[..., None]] = {
    "call": call,
    "hold": hold,
    "listen": listen,
    "proxy": proxy,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
