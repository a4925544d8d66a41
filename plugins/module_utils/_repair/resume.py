# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task that was cut off left half done: finished or taken back, recorded."""

from __future__ import annotations

import typing as t

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._audit.origin import Origin
from .._device import Device, fds_of
from .._errors import ProcessError, StuckError
from .._net import holdings
from .._qemu import hotplug
from .._vm import identity
from .._vm.history import NicPast, Past
from .._vm.macvtap import remove_link
from .._vm.note import NicNote, Note
from .._vm.session import Session
from .check import steps_due
from .steps import Step
from .vm_end import record_end, settle

if t.TYPE_CHECKING:
    from .._task.result import Report


def end_process(session: Session, note: Note) -> bool:
    """End the qemu of a start that was never finished, and no other one; tell whether it has ended."""
    process = session.disconnect()
    known = identity.noted(note)
    if known is not None:
        process = known
    elif session.qmp_socket != note.qmp_socket:
        # The task was given the monitor of one that something else started.
        process = None
    return process is None or process.end()


def repair_as_noted(session: Session, report: Report, origin: Origin) -> None:
    """Repair, and prove the records as the strictest task asked whose work is repaired, not as this one does."""
    note = session.note
    if note is None:
        return
    with Auditor(note.audit) as auditor:
        try:
            auditor.prepare()
            report.warnings += repair(session, auditor, origin)
        finally:
            report.auditor.add(auditor)


def repair(session: Session, auditor: Auditor, origin: Origin) -> list[str]:
    """Record and remove what an earlier run or the VM's end left; return what was done, in words."""
    note = session.note
    if note is None:
        return []
    steps = steps_due(session)
    if any(step.action == "end" for step in steps):
        if note.booting and not end_process(session, note):
            raise ProcessError(
                f"the start of VM {note.name} had been cut off, and its qemu (pid {note.pid}) cannot be ended: it waits"
                " in the kernel, mostly for its storage, and holds its network devices. Run the task again when it has ended"
            )
        done = [settle(note, session.state, auditor, origin)]
        session.note = None
    else:
        past = Past(note)
        session.begin(note)
        for step in steps:
            _do(session, note, step, past, auditor, origin)
        done = [step.reported for step in steps if step.action != "go_on"]
        session.finish(note)
    session.look()
    return done


def _do(
    session: Session,
    note: Note,
    step: Step,
    past: Past,
    auditor: Auditor,
    origin: Origin,
) -> None:
    """Do one step for a VM that lives."""
    messages, nic = session.messages(origin), step.nic
    if nic is None:
        session.live.monitor.execute("cont")
        note.frozen = False
        return
    known = past.nic(nic)
    if step.action == "confirm":
        _confirm(session, note, nic, known, auditor, messages)
    elif step.action == "take_back":
        _take_back(session, note, nic)
        record_end(nic, known, "attach", auditor, messages)
    elif step.action == "record_end":
        record_end(nic, known, "attach", auditor, messages)
    if step.action != "confirm":
        auditor.prove()
        remove_link(nic)
        if step.action != "take_back" and nic.mac in session.nics:
            nic.phase = "revoked"
        else:
            del note.interfaces[nic.mac]
    session.state.save(note)


def _confirm(
    session: Session,
    note: Note,
    nic: NicNote,
    known: NicPast,
    auditor: Auditor,
    messages: Messages,
) -> None:
    """Finish a hot-plug that was cut off after qemu had the NIC."""
    nic.devices = _handed_over(session, note, nic)
    if not known.granted:
        fds = fds_of(nic.devices)
        auditor.write(messages.net_grant("attach", nic.mac, fds, success=True))
        auditor.prove()
    nic.phase = "held"


def _take_back(session: Session, note: Note, nic: NicNote) -> None:
    """Take back a hot-plug that was cut off. Raises :class:`StuckError` when somebody keeps its device."""
    hotplug.roll_back(session.live.monitor, nic.mac, nic.queues)
    process = session.live.process
    holding = holdings.wait_free(nic.ifname, nic.ifindex, process)
    if holding is not None:
        raise StuckError(
            f"the attach of {nic.mac} to VM {note.name} (qemu, pid {process.pid}) had been cut off and cannot be taken"
            f" back: {holding}. Run the task again; if it says the same, end that process, or stop the VM (vm_net_detach"
            " with stop_vm: destroy)"
        )


def _handed_over(session: Session, note: Note, nic: NicNote) -> list[Device]:
    """Return what qemu holds of an interface, with the events of our opens where they are known."""
    process = session.live.process
    others = [
        other
        for other in note.interfaces.values()
        if other is not nic and other.phase == "held"
    ]
    claimed = {opened.fd for other in others for opened in other.devices}
    claimed.update(nic.others)
    held = []
    for found in holdings.of(process):
        ours = found.dev == nic.ifname or found.is_vhost
        if ours and found.fd not in claimed:
            found.dev = nic.ifname
            held.append(found)
    held.sort(key=lambda opened: opened.is_vhost)
    for mine, opened in zip(nic.devices, held):
        if mine.rdev == opened.rdev:
            opened.event = mine.event
    return held
