# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the kernel's own records of opens with the records that the openers wrote. Pure.

An opener writes its record right after the open, so process and time show which two records belong together.
"""

from __future__ import annotations

import collections

from .._audit.kernel import KernelOpen, Kind, kind_of_path
from .._log.parse import Logged
from .._time import iso
from .findings import Finding, Findings

# The longest time between an open and its record. In this time the opener may wait for the audit system.
_TOGETHER_SECONDS = 10.0
# How old an open must be before its missing record counts.
_GRACE_SECONDS = 2.0


class Witness:
    """Keeps each open that the kernel of one host saw until the opener's record turns up or is overdue.

    It serves one host only, because the clock of another host does not tell how long a record has been missing.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        # By process.
        self._opens: dict[int, list[KernelOpen]] = collections.defaultdict(list)
        # Opens and records of the same process, claimed or not, to which a TUNSETIFF can belong.
        self._known: dict[int, float] = {}
        self._swept = 0.0

    def saw(self, opened: KernelOpen) -> None:
        """Take a record that the kernel wrote."""
        self._sweep(opened.time)
        if not opened.tunsetiff:
            self._known[opened.pid] = opened.time
        self._opens[opened.pid].append(opened)

    def recorded(self, logged: Logged, path: str) -> None:
        """Take an open record. It explains what its sender opened just before."""
        self._sweep(logged.time)
        self._known[logged.pid] = logged.time
        kind = kind_of(path)
        waiting = self._opens.get(logged.pid, [])
        mine = [
            opened
            for opened in waiting
            if not opened.tunsetiff
            and opened.kind == kind
            and abs(logged.time - opened.time) <= _TOGETHER_SECONDS
        ]
        # This collection writes one record for each open(2), and the record names the interface.
        for opened in mine[:1] if "dev" in logged.record.fields else mine:
            waiting.remove(opened)

    def finish(self, now: float) -> None:
        """Report what is left. If an open is not brand new, nobody has recorded it."""
        self._report(now, _GRACE_SECONDS)

    def _sweep(self, time: float) -> None:
        # The code does not do this for each record, because it looks through whole lists.
        if abs(time - self._swept) > _TOGETHER_SECONDS:
            self._swept = time
            self._report(time, _TOGETHER_SECONDS)

    def _report(self, now: float, age: float) -> None:
        for process, waiting in list(self._opens.items()):
            late = [opened for opened in waiting if abs(now - opened.time) > age]
            for opened in late:
                waiting.remove(opened)
                if not (opened.tunsetiff and self._belongs(opened)):
                    self._findings.add(_unrecorded(opened))
            if not waiting:
                del self._opens[process]
        for process, time in list(self._known.items()):
            if abs(now - time) > 3 * _TOGETHER_SECONDS:
                del self._known[process]

    def _belongs(self, opened: KernelOpen) -> bool:
        known = self._known.get(opened.pid)
        return known is not None and abs(known - opened.time) <= 2 * _TOGETHER_SECONDS


def kind_of(path: str) -> Kind:
    """Return the node that a path in an open record leads to. libvirt writes the interface of a macvtap in
    place of the path.
    """
    if path.endswith("/net/tun"):
        return "tap"
    return "vhost" if path.endswith("/vhost-net") else kind_of_path(path) or "macvtap"


def _unrecorded(opened: KernelOpen) -> Finding:
    exe = opened.exe or "an unknown program"
    who = "nobody who had logged in" if opened.auid is None else f"auid {opened.auid}"
    what = (
        "became the holder of a tap, through a node that no rule watches"
        if opened.tunsetiff
        else f"{'opened' if opened.fd is not None else 'tried to open'} {opened.path or f'a {opened.kind} node'}"
    )
    done = opened.fd is not None or opened.tunsetiff
    return Finding(
        code="unrecorded_open",
        severity="high" if done else "low",
        message=f"{exe} (pid {opened.pid}, {who}) {what} at {iso(opened.time)}, and no record of a VM accounts for"
        " it. Find out who ran it and for what; give VMs their devices with vm_net_attach.",
        time=opened.time,
        events=[opened.event],
        node=opened.node,
        path=opened.path,
        pid=opened.pid,
        exe=opened.exe,
        auid=opened.auid,
        fd=opened.fd,
    )
