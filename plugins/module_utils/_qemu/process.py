# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""qemu's process: which one it is, what it holds, its start and its end.

Source: ``proc(5)``.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
import typing as t

from .._net import device, sysfs
from .._net.device import Device
from .._proc import raise_exhausted, stat_fields

_END_SECONDS = 5.0
_FATE_SECONDS = 0.5
_IFF_LINE = re.compile(r"^iff:\t(.+)$", re.MULTILINE)


class Process(t.NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid.

    ``start_time`` is field 22 of /proc/<pid>/stat, in clock ticks since boot.
    """

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the living process of a pid; a zombie is none.

        A first thread that has ended is a zombie too, and the others still hold every file.
        """
        fields = stat_fields(pid)
        if fields is None or (fields[0] in ("Z", "X") and int(fields[17]) <= 1):
            return None
        return cls(pid, int(fields[19]))

    def is_alive(self) -> bool:
        """Tell whether this very process still runs."""
        return Process.of(self.pid) == self

    def fate(self) -> str:
        """Return what ends a message when a qemu has ended, and nothing when it has not.

        One that was killed lives on for a moment, without its files.
        """
        return ": qemu has ended or crashed" if self.wait_end(_FATE_SECONDS) else ""

    def fds(self) -> set[int]:
        """Return the numbers of the open file descriptors; none when the process is gone."""
        for thread in self._threads():
            try:
                found = os.listdir(f"{thread}/fd")
            except OSError as exc:
                raise_exhausted(exc)
                continue
            if found:
                return {int(name) for name in found}
        return set()

    def device_at(self, fd: int) -> Device | None:
        """Return the network device behind a file descriptor, ``None`` when it is something else."""
        node = self._node_at(fd)
        if node is None:
            return None
        path, rdev = node
        name = self._interface_of(path, rdev, fd)
        if name is None and path not in (device.TUN_PATH, device.VHOST_NET_PATH):
            return None
        return Device(path=path, rdev=device.format_rdev(rdev), dev=name, fd=fd)

    def holds(self, known: Device) -> bool:
        """Tell whether the process still holds a device at its fd.

        A vhost-net fd carries no interface, and a removed macvtap none any more, so there
        only the node is compared.
        """
        node = self._node_at(known.fd)
        if node is None or (node[0], device.format_rdev(node[1])) != (
            known.path,
            known.rdev,
        ):
            return False
        return self._interface_of(*node, known.fd) in (None, known.dev)

    def wait_end(self, seconds: float) -> bool:
        """Wait until the process has ended; tell whether it has."""
        deadline = time.monotonic() + seconds
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:
            return not self.is_alive()
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            while self.is_alive():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                poll.poll(left * 1000)
        finally:
            os.close(pidfd)
        return True

    def kill(self) -> None:
        """End the process with SIGKILL, never another one that has its pid by now."""
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(self.pid)
            try:
                if self.is_alive():
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)

    def end(self) -> bool:
        """Kill the process and wait for its end; tell whether it has come."""
        self.kill()
        return self.wait_end(_END_SECONDS)

    def command_line(self) -> list[str]:
        """Return the arguments that the process was started with."""
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as handle:
                words = handle.read().split(b"\0")[:-1]
        except OSError as exc:
            raise_exhausted(exc)
            return []
        return [os.fsdecode(word) for word in words]

    def is_qemu(self) -> bool:
        """Tell whether the process is a qemu, by the name that it was started with."""
        return any(names_qemu(word) for word in self.command_line()[:1])

    def _threads(self) -> t.Iterator[str]:
        """Yield where proc(5) shows the files: with the first thread, or when it has ended with any other."""
        yield f"/proc/{self.pid}"
        fields = stat_fields(self.pid)
        if fields is not None and fields[0] == "Z":
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for thread in os.listdir(f"/proc/{self.pid}/task"):
                    yield f"/proc/{self.pid}/task/{thread}"

    def _node_at(self, fd: int) -> tuple[str, int] | None:
        """Return path and device number of the node behind a file descriptor."""
        for thread in self._threads():
            link = f"{thread}/fd/{fd}"
            try:
                path = os.readlink(link)
                if not path.startswith("/dev/"):
                    return None
                # The node of a removed macvtap is gone, and the fd is as open as before.
                return path.replace(" (deleted)", ""), os.stat(link).st_rdev
            except OSError as exc:
                raise_exhausted(exc)
        return None

    def _interface_of(self, path: str, rdev: int, fd: int) -> str | None:
        if path == device.TUN_PATH:
            return self._tun_name(fd)
        if path == device.VHOST_NET_PATH:
            return None
        # The device number of a removed macvtap goes to the next one; its node's name does not.
        name = sysfs.macvtap_of(os.major(rdev), os.minor(rdev))
        return name if name is not None and path == sysfs.macvtap_node(name) else None

    def _tun_name(self, fd: int) -> str | None:
        for thread in self._threads():
            try:
                with open(
                    f"{thread}/fdinfo/{fd}", encoding="utf-8", errors="replace"
                ) as handle:
                    match = _IFF_LINE.search(handle.read())
                return match.group(1) if match else None
            except OSError as exc:
                raise_exhausted(exc)
        return None


def all_processes() -> t.Iterator[Process]:
    """Yield every living process that can be seen."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = Process.of(int(name))
            if process is not None:
                yield process


def names_qemu(path: str) -> bool:
    """Tell whether a program's path is that of a qemu, and not of libvirt's daemon for them."""
    name = os.path.basename(path)
    return "qemu" in name and not name.startswith("virtqemud")


def named(arguments: t.Sequence[str]) -> tuple[str | None, str | None]:
    """Return the name and the UUID that a qemu was started with."""
    given = dict(zip(arguments, arguments[1:]))
    uuid = given.get("-uuid") or given.get("--uuid")
    words = (given.get("-name") or given.get("--name") or "").split(",")
    guest = [word[len("guest=") :] for word in words if word.startswith("guest=")]
    bare = [words[0]] if words[0] and "=" not in words[0] else []
    return next(iter(guest + bare), None), uuid.lower() if uuid else None


def find_qemu(uuid: str) -> Process | None:
    """Return the qemu that was started with ``-uuid`` of a VM, whoever started it.

    Where there is none, what has the same argument: a program on its way to become qemu (systemd-run, setpriv),
    or a qemu under another name.
    """
    others = []
    for process in all_processes():
        arguments = process.command_line()
        if named(arguments)[1] != uuid:
            continue
        if names_qemu(arguments[0]):
            return process
        others.append(process)
    return next(iter(others), None)


def holder_of(ifname: str) -> Process | None:
    """Return a process that holds the tap or macvtap of this name."""
    for process in all_processes():
        for fd in process.fds():
            found = process.device_at(fd)
            if found is not None and found.dev == ifname:
                return process
    return None


def boot_id() -> str:
    """Return the id of the running boot: notes of an earlier one are void."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        return handle.read().strip()
