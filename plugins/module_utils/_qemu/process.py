# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out which processes are qemus, and for which VM each of them was started.

A process can choose its arguments, including argv[0]. The kernel tells which program it runs
(``/proc/<pid>/exe``) and its uid. Sources: ``proc(5)``, ``qemu-system-x86_64(1)``.
"""

from __future__ import annotations

import os
import re
import typing as t

from .._proc import Process, all_processes, group_of
from .answers import value_of
from .ids import MONITOR_ARGUMENT
from .monitor import Monitor

# Debian, RHEL, Proxmox; Nix puts a dot before a program that it has wrapped.
# Compiled at its first use: most tasks know the process.
_PROGRAM = r"\.?(?:qemu-system-[\w.-]+|qemu-kvm(?:[.-][\w.-]+)?|kvm|qemu)"
_KEY = r"([^=\0]*)="
_ROOT = 0


class Told(t.NamedTuple):
    """The name and the UUID that a qemu was started with, or ``None`` if it was started without."""

    name: str | None
    uuid: str | None


def is_qemu(process: Process) -> bool:
    """Tell whether a process runs qemu, by the program that the kernel runs in it."""
    return re.fullmatch(_PROGRAM, os.path.basename(process.exe())) is not None


def told(arguments: t.Sequence[str]) -> Told:
    """Return for which VM a qemu was started, from ``-name``, and from ``-uuid`` or ``-smbios type=1,uuid=``.

    ``arguments`` are those of the process. The last argument counts, as it does in qemu.
    """
    name = uuid = None
    for word, value in zip(arguments, arguments[1:]):
        option = word[1:] if word.startswith("--") else word
        if option == "-name":
            name = _values(value, "guest").get("guest", name)
        elif option == "-uuid":
            uuid = value.lower()
        elif option == "-smbios":
            values = _values(value, "")
            if values.get("type") == "1" and values.get("uuid"):
                uuid = values["uuid"].lower()
    return Told(name or None, uuid or None)


def find_qemu(uuid: str, uids: t.Collection[int] = ()) -> Process | None:
    """Return the qemu that was started with the UUID of a VM and runs as root or as one of ``uids``.

    If there is none, return a process of root that has the arguments of a start by this collection. It is
    systemd-run or setpriv, which will become qemu, or a qemu with another name.
    """
    starting = None
    for process in all_processes():
        arguments = process.command_line()
        if told(arguments).uuid != uuid:
            continue
        uid = process.uid()
        if is_qemu(process) and (uid == _ROOT or uid in uids):
            return process
        if uid == _ROOT and MONITOR_ARGUMENT in arguments:
            starting = process
    return starting


def find_named(
    name: str, uids: t.Collection[int] = (), beside: str | None = None
) -> tuple[Process, Told] | None:
    """Return a qemu that was started with the name of a VM, but not with the UUID ``beside``.

    It runs as root or as one of ``uids``.
    """
    for process in all_processes():
        found = told(process.command_line())
        other = beside is None or found.uuid != beside
        if found.name == name and other and is_qemu(process):
            uid = process.uid()
            if uid == _ROOT or uid in uids:
                return process, found
    return None


def is_running(monitor: Monitor) -> bool:
    """Tell whether the guest's CPUs run (QMP ``query-status``)."""
    status = monitor.execute("query-status")
    return value_of("query-status", status, "running", bool)


def owner_of_cpus(monitor: Monitor) -> Process | None:
    """Return the process whose threads are the CPUs of the VM behind a monitor (QMP ``query-cpus-fast``)."""
    cpus = monitor.execute("query-cpus-fast")
    threads = {
        value_of("query-cpus-fast", cpu, "thread-id", int)
        for cpu in (cpus if isinstance(cpus, list) else [])
    }
    owners = {group_of(thread) for thread in threads}
    pid = owners.pop() if len(owners) == 1 else None
    return None if pid is None else Process.of(pid)


def _values(text: str, implied: str) -> dict[str, str]:
    """Return the keys and values of an option of qemu. Commas separate them, and a comma in a value is doubled.

    ``implied`` is the key of a first value without a key.
    """
    values: dict[str, str] = {}
    for number, word in enumerate(text.replace(",,", "\0").split(",")):
        # A key has no comma. If there is one, the word is a value with an equals sign in it.
        match = re.match(_KEY, word)
        if match:
            values[match.group(1)] = word[match.end() :].replace("\0", ",")
        elif number == 0 and implied:
            values[implied] = word.replace("\0", ",")
    return values
