# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts qemu with inherited fds, detached from the task, in a systemd scope if systemd runs.

qemu's own ``-daemonize`` forks after the sandbox is up, and ``spawn=deny`` kills it. So the module detaches qemu
itself, and waits on the monitor instead.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import typing as t

from .._errors import MonitorError, OptionError, ProcessError
from .._proc import Process
from . import systemd
from .monitor import Monitor
from .process import owner_of_cpus

_VERSION = re.compile(r"version (\d+)\.(\d+)")
# The first version that accepts -device as JSON.
_OLDEST = (6, 2)
_STDERR_BYTES = 16384
_END_SECONDS = 5.0
_FATE_SECONDS = 1.0
# The environment of a task may hold secrets. The user that runs qemu could read them.
_ENVIRONMENT = {"LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ"}
_GIVEN_BACK = "The VM does not run, and the task has closed what it had opened for it"


def usual_binaries() -> list[str]:
    """Return the paths of qemu in distributions for the host's own architecture, the likeliest first: that of
    RHEL's family, that with the kernel's name of the architecture, and those of SUSE, Debian and Proxmox.
    """
    machine = re.sub(r"i.86", "x86_64", os.uname().machine)
    system = f"qemu-system-{machine}"
    return ["/usr/libexec/qemu-kvm", system, "/usr/bin/qemu-kvm", "/usr/bin/kvm"]


def find_binary(binary: str | None) -> str:
    """Return the path of qemu, by default that of the distribution. Raises :class:`OptionError` if there is none."""
    names = usual_binaries() if binary is None else [binary]
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise OptionError(
            "qemu.binary",
            f"{' or '.join(names)} is not on this host, or not executable; install qemu"
            " (Debian: qemu-system-x86, RHEL: qemu-kvm, its binary is /usr/libexec/qemu-kvm)",
        )
    # qemu starts in another directory than the task.
    return os.path.abspath(path)


def version_of(binary: str) -> tuple[int, int]:
    """Return qemu's version as (major, minor)."""
    try:
        done = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=10,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise OptionError("qemu.binary", f"{binary} --version failed: {exc}") from exc
    match = _VERSION.search(done.stdout)
    if match is None:
        raise OptionError("qemu.binary", f"{binary} does not print a version of qemu")
    version = int(match.group(1)), int(match.group(2))
    if version < _OLDEST:
        raise OptionError(
            "qemu.binary",
            f"{binary} is qemu {version[0]}.{version[1]}, and the module needs {_OLDEST[0]}.{_OLDEST[1]} or newer",
        )
    return version


def ids_of(user: str | None) -> tuple[int, int]:
    """Return the uid and gid that qemu will run with. Raises :class:`OptionError`."""
    if user is None:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(user)
        grp.getgrgid(entry.pw_gid)
    except KeyError as exc:
        raise OptionError(
            "qemu.user",
            f"there is no user {user} on this host, or its group is missing",
        ) from exc
    return entry.pw_uid, entry.pw_gid


def listen(path: str) -> socket.socket:
    """Make the monitor's socket, which qemu inherits. root stays its owner, whatever user runs qemu."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        opened.bind(path)
        os.chmod(path, 0o600)
        opened.listen(1)
    except OSError as exc:
        opened.close()
        raise ProcessError(
            f"the QMP socket {path} could not be made: {exc.strerror}"
        ) from exc
    return opened


def start(
    arguments: t.Sequence[str],
    listener: socket.socket,
    fds: t.Sequence[int],
    path: str,
    unit: str | None,
    user: str | None,
    timeout: float,
) -> tuple[Process, Monitor]:
    """Start qemu with ``fds`` and its monitor's ``listener``. Return the process and its monitor, which is ready.

    Close ``listener``. Raises :class:`ProcessError` with qemu's own message, and then leaves no qemu.
    """
    command = [*systemd.scope_command(unit), *_drop_privileges(user), *arguments]
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as said:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # The pipe ends with this task. Through a log file a guest could fill the host's
                # disk.
                stderr=write_end,
                pass_fds=[listener.fileno(), *fds],
                env={key: os.environ[key] for key in _ENVIRONMENT & {*os.environ}},
                cwd="/",
                start_new_session=True,
            )
        except OSError as exc:
            raise ProcessError(
                f"qemu did not start: {command[0]}: {exc.strerror}"
            ) from exc
        finally:
            os.close(write_end)
            # Close our copy of the socket. With it, the socket of a dead qemu would still seem to listen.
            listener.close()
        try:
            return _reach(child, said, path, arguments[0], timeout)
        except BaseException:
            # No note names this process yet, so no later task would find it.
            _end_all(child)
            raise


def _reach(
    child: subprocess.Popen[bytes],
    said: t.BinaryIO,
    path: str,
    binary: str,
    timeout: float,
) -> tuple[Process, Monitor]:
    """Wait until a started qemu is ready. Return its process and its monitor. Raises :class:`ProcessError`."""
    try:
        monitor = Monitor(path, timeout)
    except (MonitorError, OSError) as exc:
        raise ProcessError(_why_not(child, said, exc, timeout)) from exc
    try:
        process = Process.of(child.pid)
        try:
            # The peer of the socket does not show it, because the peer is this task until qemu
            # listens on the socket.
            owner = owner_of_cpus(monitor)
        except MonitorError as exc:
            raise ProcessError(_why_not(child, said, exc, timeout)) from exc
        if process is None or owner != process:
            _end_all(child, owner)
            raise ProcessError(_not_qemu(child, owner, binary, said))
    except BaseException:
        monitor.close()
        raise
    return process, monitor


def _not_qemu(
    child: subprocess.Popen[bytes],
    owner: Process | None,
    binary: str,
    said: t.BinaryIO,
) -> str:
    if owner is None or owner.pid == child.pid:
        said_last = _last_words(said) or "it said nothing"
        return f"qemu ended as soon as it had started: {said_last}. {_GIVEN_BACK}"
    return (
        f"{binary} was started as pid {child.pid}, and the VM runs as pid {owner.pid}. The program starts qemu as "
        "another process, so nobody could tell which process holds the devices. The task has ended both. Let the "
        f"program start qemu with exec, or give qemu itself as qemu.binary. {_GIVEN_BACK}"
    )


def _end_all(child: subprocess.Popen[bytes], other: Process | None = None) -> None:
    """End the started process and all processes of its session. Do nothing if the started process has ended already."""
    if child.returncode is not None:
        # Another process may have its pid by now.
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    if other is not None:
        other.end()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout=_END_SECONDS)


def _why_not(
    child: subprocess.Popen[bytes],
    said: t.BinaryIO,
    failure: Exception,
    timeout: float,
) -> str:
    process = Process.of(child.pid)
    ended = process is None or process.wait_end(_FATE_SECONDS)
    # This is also needed for a process that has ended, because it may have started others, which
    # hold what they inherited.
    _end_all(child)
    status = child.returncode
    if ended and status is not None:
        how = f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
        return f"qemu did not start ({how}): {_last_words(said) or 'it said nothing'}. {_GIVEN_BACK}"
    return (
        f"qemu was not ready within {timeout:g} s, so the task ended it: {failure}. If a start takes longer on this "
        f"host, raise the option timeout. {_GIVEN_BACK}"
    )


def _last_words(said: t.BinaryIO) -> str:
    os.set_blocking(said.fileno(), False)
    data = said.read(_STDERR_BYTES) or b""
    return " ".join(data.decode("utf-8", "replace").split())


def _drop_privileges(user: str | None) -> list[str]:
    if user is None:
        return []
    # setpriv(1) rather than -runas, which the sandbox's elevateprivileges=deny kills.
    _uid, gid = ids_of(user)
    return ["setpriv", f"--reuid={user}", f"--regid={gid}", "--init-groups", "--"]
