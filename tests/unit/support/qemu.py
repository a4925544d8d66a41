# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fake qemu that remembers its named and open fds, its netdevs and NICs, and every command in order."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import holdings
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.monitor import (
    Monitor,
)

Arguments = t.Mapping[str, t.Any]


class FakeQemu:
    """The monitor and the process of qemu in one object. ``ours`` maps the fds of this process to devices.

    ``fails`` maps a command, or a command and the number of such commands before it, to the exception that it
    raises.
    """

    def __init__(self, ours: t.Iterable[Device] = ()) -> None:
        self.ours = {opened.fileno(): opened for opened in ours}
        self.held: dict[int, Device] = {}
        self.names: dict[str, int] = {}
        self.netdevs: dict[str, list[int]] = {}
        self.nics: dict[str, Arguments] = {}
        self.log: list[tuple[str, Arguments]] = []
        self.fails: dict[str | tuple[str, int], BaseException] = {}
        self.answers: dict[str, t.Callable[[Arguments], t.Any]] = {}
        self.events: list[dict[str, t.Any] | None] = []
        self.next_fd = 40
        self.timeout = 1.0
        self.silent_getfd = False

    @property
    def monitor(self) -> Monitor:
        return t.cast(Monitor, self)

    @property
    def process(self) -> Process:
        return t.cast(Process, self)

    @property
    def commands(self) -> list[str]:
        """Return the commands that came, in order."""
        return [command for command, _arguments in self.log]

    # The monitor.

    def close(self) -> None:
        """Leave the monitor."""

    def execute(
        self, command: str, arguments: Arguments | None = None, fd: int | None = None
    ) -> t.Any:
        given = dict(arguments or {})
        before = self.commands.count(command)
        self.log.append((command, given))
        failure = self.fails.get((command, before), self.fails.get(command))
        if failure is not None:
            raise failure
        if command in self.answers:
            return self.answers[command](given)
        handler = getattr(self, f"_{command}", None)
        assert handler is not None, command
        return handler(fd, **given) if command == "getfd" else handler(**given)

    def try_all(
        self,
        commands: t.Sequence[tuple[str, Arguments]],
        fds: t.Sequence[int] = (),
    ) -> list[t.Any]:
        answers: list[t.Any] = []
        given: t.Sequence[int | None] = fds or [None] * len(commands)
        for (command, arguments), fd in zip(commands, given):
            try:
                answers.append(self.execute(command, arguments, fd))
            except QmpError as exc:
                answers.append(exc)
        return answers

    def execute_all(self, *commands: str) -> list[t.Any]:
        return [self.execute(command) for command in commands]

    def within(self, seconds: float) -> t.ContextManager[None]:
        """Give qemu at most some seconds for each answer."""
        return contextlib.nullcontext()

    def altogether(self, seconds: float) -> t.ContextManager[None]:
        """Give qemu at most some seconds for all answers."""
        return contextlib.nullcontext()

    def wait_event(self, deadline: float) -> dict[str, t.Any] | None:
        return self.events.pop(0) if self.events else None

    # The process.

    pid = 4711

    def is_alive(self) -> bool:
        return True

    def fate(self) -> str:
        return ""

    def fds(self) -> set[int]:
        return {0, 1, 2, *self.held}

    def at(self, fd: int) -> Device | None:
        return self.held.get(fd)

    def still_at(self, known: Device) -> bool:
        found = None if known.fd is None else self.held.get(known.fd)
        return found is not None and found.path == known.path

    def copy_of(self, fd: int) -> int:
        raise OSError(errno.EBADF, "this process does not exist")

    # The commands.

    def _getfd(self, fd: int, fdname: str) -> None:
        assert not fdname[0].isdigit()
        assert fdname not in self.names
        self.next_fd += 1
        if not self.silent_getfd:
            self.held[self.next_fd] = dataclasses.replace(
                self.ours[fd], fd=self.next_fd, event=None
            )
        self.names[fdname] = self.next_fd

    def _closefd(self, fdname: str) -> None:
        if fdname not in self.names:
            raise QmpError("closefd", "GenericError", f"fd '{fdname}' not found")
        self.held.pop(self.names.pop(fdname), None)

    def _netdev_add(self, **arguments: t.Any) -> None:
        words = [
            arguments[key]
            for key in ("fd", "fds", "vhostfd", "vhostfds")
            if key in arguments
        ]
        taken = [name for word in words for name in word.split(":")]
        self.netdevs[arguments["id"]] = [self.names.pop(name) for name in taken]

    def _netdev_del(self, id: str) -> None:  # noqa: A002
        if id not in self.netdevs:
            raise QmpError("netdev_del", "DeviceNotFound", f"Device '{id}' not found")
        for fd in self.netdevs.pop(id):
            self.held.pop(fd, None)

    def _device_add(self, **arguments: t.Any) -> None:
        assert arguments["netdev"] in self.netdevs
        self.nics[arguments["id"]] = arguments

    def _device_del(self, id: str) -> None:  # noqa: A002
        if id not in self.nics:
            raise QmpError("device_del", "DeviceNotFound", f"Device '{id}' not found")
        del self.nics[id]


def show_in_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let /proc show what a fake qemu holds, as it does for a process."""
    at, still_at = holdings.at, holdings.still_at

    def fake_at(process: Process | FakeQemu, fd: int) -> Device | None:
        return process.at(fd) if isinstance(process, FakeQemu) else at(process, fd)

    def fake_still_at(process: Process | FakeQemu, known: Device) -> bool:
        if isinstance(process, FakeQemu):
            return process.still_at(known)
        return still_at(process, known)

    monkeypatch.setattr(holdings, "at", fake_at)
    monkeypatch.setattr(holdings, "still_at", fake_still_at)
