# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the least that a NIC can cost: the same steps in plain calls, without Ansible, plans, notes or checks.

    floor.py QMP_SOCKET BRIDGE COUNT

Prints the seconds of each NIC as JSON. The steps are: open a tap, give it MAC and bridge, record the open and see its
echo, pass the descriptor to qemu, make a NIC of it, record the attach and see its echo. Then the script removes the
NICs. It uses no code of the collection, because it is compared with the collection.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import sys
import time
import typing as t

# include/uapi/linux: if_tun.h, sockios.h, audit.h
_TUNSETIFF, _TAP = 0x400454CA, 0x5002
_SIOCGIFINDEX, _SIOCSIFHWADDR, _SIOCBRADDIF, _SIOCSIFFLAGS = (
    0x8933,
    0x8924,
    0x89A2,
    0x8914,
)
# The records are no VIRT_RESOURCE records, because a reader of the log would take them for those of a real VM.
_AUDIT, _READLOG, _TRUSTED_APP = 9, 1, 1121


class Qmp:
    """A QMP session without any checks."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self.execute("qmp_capabilities")

    def execute(
        self, command: str, passed: int | None = None, **arguments: t.Any
    ) -> t.Any:
        """Execute a command, and return its value."""
        data = json.dumps({"execute": command, "arguments": arguments}).encode()
        if passed is None:
            self._socket.sendall(data)
        else:
            socket.send_fds(self._socket, [data], [passed])
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise SystemExit(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def wait_deleted(self, device: str) -> None:
        """Wait until the guest has released a device."""
        while True:
            message = json.loads(self._lines.readline())
            if (
                message.get("event") == "DEVICE_DELETED"
                and message["data"].get("device") == device
            ):
                return


class Audit:
    """Sends a record and waits for its echo."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW
        self._sender = socket.socket(socket.AF_NETLINK, kind, _AUDIT)
        self._echoes = socket.socket(socket.AF_NETLINK, kind, _AUDIT)
        self._echoes.bind((0, 1 << (_READLOG - 1)))
        self._echoes.settimeout(10)

    def write(self, text: str) -> None:
        """Send one record with the text of a VIRT_RESOURCE record."""
        data = text.encode() + b"\0"
        header = struct.pack("=IHHII", 16 + len(data), _TRUSTED_APP, 0x5, 1, 0)
        self._sender.send(header + data)
        self._sender.recv(4096)
        while data[:-1] not in self._echoes.recv(16384):
            pass


def open_tap(control: socket.socket, name: str, mac: str, bridge: str) -> int:
    """Open a tap, make it a port of the bridge, and bring it up."""
    encoded = name.encode()
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", encoded, _TAP))
    address = bytes.fromhex("fe" + mac.replace(":", "")[2:])
    fcntl.ioctl(control, _SIOCSIFHWADDR, struct.pack("16sH6s16x", encoded, 1, address))
    index = struct.unpack_from(
        "i", fcntl.ioctl(control, _SIOCGIFINDEX, struct.pack("16s24x", encoded)), 16
    )[0]
    fcntl.ioctl(control, _SIOCBRADDIF, struct.pack("16si20x", bridge.encode(), index))
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", encoded, 0x1043))
    return fd


def main(path: str, bridge: str, count: int) -> None:
    """Attach, print the times, detach."""
    qmp, audit, control = Qmp(path), Audit(), socket.socket(socket.AF_INET)
    names, seconds = [], []
    for number in range(count):
        begin = time.perf_counter()
        name, mac = f"vabench{number}", f"52:54:00:be:f0:{number:02x}"
        fd = open_tap(control, name, mac, bridge)
        net = f'virt=qemu resrc=net reason=open vm="vabench-floor" net={mac} path="/dev/net/tun" dev="{name}"'
        audit.write(f"{net} res=success")
        qmp.execute("getfd", fd, fdname=name)
        os.close(fd)
        qmp.execute("netdev_add", type="tap", id=f"{name}-host", fd=name, vhost=False)
        qmp.execute(
            "device_add",
            driver="virtio-net-pci",
            id=name,
            netdev=f"{name}-host",
            mac=mac,
            bus=f"virtaudit-port{number}",
            addr="0x0",
        )
        audit.write(
            f'virt=qemu resrc=net reason=attach vm="vabench-floor" new-net={mac} res=success'
        )
        seconds.append(time.perf_counter() - begin)
        names.append(name)
    print(json.dumps(seconds))
    # The guest's drivers must have the NIC before they can release it.
    time.sleep(1)
    for name in names:
        qmp.execute("device_del", id=name)
        qmp.wait_deleted(name)
        qmp.execute("netdev_del", id=f"{name}-host")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
