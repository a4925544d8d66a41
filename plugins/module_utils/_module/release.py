# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes NICs out of a running VM: the guest's side, the host's side, the records."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from .._audit.messages import Messages
from .._errors import LinkError
from .._net.device import Device
from .._qemu import hotplug
from .._state import Note
from .gone import record_end
from .macvtap import remove_link
from .notes import noted, settle_note
from .observe import Nic
from .past import of_note
from .report import Report
from .session import Session

# How long a guest whose host side was revoked gets to let go of its NIC as well.
_GRACE_SECONDS = 1.0

Action = t.Literal["detached", "revoked", "absent", "pending"]


@dataclasses.dataclass
class Outcome:
    """What became of one NIC.

    ``pending``: the guest still has its side. ``released`` are the devices that qemu gave up.
    ``left`` says why the macvtap is still there, when it could not be removed.
    """

    mac: str
    action: Action
    pending: bool = False
    released: list[Device] = dataclasses.field(default_factory=list)
    left: str | None = None

    def result(self) -> dict[str, t.Any]:
        """Return the module's value for the NIC."""
        return {
            "mac": self.mac,
            "action": self.action,
            "pending": self.pending,
            "released": [opened.result() for opened in self.released],
        }


def release(
    session: Session,
    nics: t.Sequence[Nic],
    force: bool,
    report: Report,
    messages: Messages,
) -> list[Outcome]:
    """Take NICs out of a running VM; return an outcome for each.

    The guest is asked for all of them at once. What it does not let go of in time is
    recorded as a failed detach, and nothing of it is closed. With ``force`` the host side is
    closed first. Raises :class:`MonitorError`, :class:`AuditError`.
    """
    note = noted(session)
    session.begin(note)
    try:
        if force:
            outcomes = [
                _close(session, note, nic, "revoked", report, messages) for nic in nics
            ]
            # After the host side, so that a guest that hangs delays nothing.
            seconds = min(_GRACE_SECONDS, session.timeout)
            gone = _ask_guest(session, note, nics, seconds)
        else:
            gone = _ask_guest(session, note, nics, session.timeout)
            outcomes = [
                (
                    _close(session, note, nic, "detached", report, messages)
                    if nic.mac in gone or not nic.devices
                    else _keep(nic, report, messages)
                )
                for nic in nics
            ]
        for nic, outcome in zip(nics, outcomes):
            outcome.pending = nic.mac not in gone or outcome.action == "pending"
            if not outcome.pending:
                if outcome.left is None:
                    del note.interfaces[nic.mac]
            elif outcome.action == "detached" and not outcome.released:
                # Its host side was closed before this run, and the guest's is still there.
                outcome.action = "absent"
    finally:
        settle_note(session, note, report.auditor)
    return outcomes


def _ask_guest(
    session: Session, note: Note, nics: t.Sequence[Nic], seconds: float
) -> set[str]:
    """Ask the guest to let go; return the MACs of the NICs that it does not have any more."""
    paths = {nic.front_end.path: nic.mac for nic in nics if nic.front_end is not None}
    for mac in paths.values():
        note.interfaces[mac].pending = True
    session.state.save(note)
    gone = hotplug.unplug(session.live.monitor, paths, time.monotonic() + seconds)
    return {
        nic.mac for nic in nics if nic.front_end is None or nic.front_end.path in gone
    }


def _close(
    session: Session,
    note: Note,
    nic: Nic,
    action: Action,
    report: Report,
    messages: Messages,
) -> Outcome:
    """Close the host side, see in /proc that it is closed, and record it."""
    live = session.live
    entry = note.interfaces[nic.mac]
    path = (
        nic.front_end.path
        if action == "revoked" and nic.front_end is not None
        else None
    )
    if path is not None:
        # A revocation may freeze the guest for a moment; if that is cut off, the next task goes on with it.
        note.frozen = live.monitor.execute("query-status")["running"]
        session.state.save(note)
    held = hotplug.revoke(live.monitor, live.process, nic.netdev, path, nic.devices)
    note.frozen = False
    if held:
        return _keep(nic, report, messages)
    if entry.phase == "revoked":
        return Outcome(nic.mac, "detached" if action == "detached" else "absent")
    devices = entry.devices
    record_end(entry, of_note(entry), "attach", report.auditor, messages)
    entry.phase = "revoked"
    outcome = Outcome(nic.mac, action, released=devices)
    try:
        remove_link(entry)
    except LinkError as exc:
        outcome.left = str(exc)
    session.state.save(note)
    return outcome


def _keep(nic: Nic, report: Report, messages: Messages) -> Outcome:
    report.auditor.write(messages.net_detach(nic.mac, success=False))
    return Outcome(nic.mac, "pending")
