# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds links of VMs that something other than a VM holds, or that nobody holds. It compares two looks at the host."""

from __future__ import annotations

import typing as t

from .._analysis.findings import Finding, Findings
from .host_view import Holder, Look


def add_leaked(findings: Findings, before: Look, after: Look, now: float) -> None:
    """Add a finding for each tap or macvtap that no VM holds, and for each process that holds a link of a VM.

    ``before`` and ``after`` are two looks at the host. ``now`` is the time, in seconds since the epoch.
    """
    held_before, held = before.held(), after.held()
    for name in sorted(set(before.links) & set(after.links)):
        first, last = held_before.get(name, []), held.get(name, [])
        if any(each.is_qemu for each in (*first, *last)):
            _add_copies(findings, name, first, last, now)
            continue
        holder = next(iter(last), None)
        if holder is None and first:
            continue
        if holder is None:
            who = f"No process holds it: remove it ('ip link del {name}') unless a VM is about to get it"
        else:
            who = f"{holder.exe} (pid {holder.process.pid}) holds it, which is not a qemu. Find out what it is for"
        findings.add(
            Finding(
                code="leaked_device",
                severity="medium" if holder is None else "low",
                message=f"The link {name} is a tap or macvtap without a VM. {who}.",
                time=now,
                dev=name,
                pid=holder.process.pid if holder else None,
                exe=holder.exe if holder else None,
            )
        )


def _add_copies(
    findings: Findings,
    name: str,
    first: t.Sequence[Holder],
    last: t.Sequence[Holder],
    now: float,
) -> None:
    """Add a finding for each process that is no VM and has held the link of a VM both times."""
    earlier = {each.process for each in first}
    for holder in last:
        if holder.is_qemu or holder.process not in earlier:
            continue
        findings.add(
            Finding(
                code="leaked_device",
                severity="medium",
                message=f"{holder.exe} (pid {holder.process.pid}) holds {name}, which is the link of a VM. It can read what "
                "is for the VM, and send in its place. Unless it is a task that gives the link to the VM just now, end it, "
                "and find out how it got a descriptor.",
                time=now,
                dev=name,
                pid=holder.process.pid,
                exe=holder.exe,
            )
        )
