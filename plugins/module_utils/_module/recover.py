# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task that was cut off left half done: finished or taken back, recorded."""

from __future__ import annotations

from .._audit.auditor import Auditor
from .._audit.origin import Origin
from .._device import Device, fds_of
from .._errors import ProcessError, StuckError
from .._net import holdings
from .._qemu import hotplug
from .._state import NicNote, Note
from . import identity
from .gone import record_end, settle
from .leftovers import is_dead, lost
from .macvtap import has_link, remove_link
from .past import Past
from .report import Report
from .session import Session


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
    if note.booting or is_dead(note):
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
        if note.frozen:
            session.live.monitor.execute("cont")
            note.frozen = False
        half = [nic for nic in note.interfaces.values() if nic.phase == "opening"]
        done = [_settle(session, note, nic, past, auditor, origin) for nic in half]
        done += [
            _let_go(session, note, nic, past, auditor, origin)
            for nic in lost(session, note)
        ]
        session.finish(note)
    session.look()
    return done


def _let_go(
    session: Session,
    note: Note,
    nic: NicNote,
    past: Past,
    auditor: Auditor,
    origin: Origin,
) -> str:
    """Record the end of a NIC that is on record as held and is not; forget one that the guest has let go of."""
    done = f"the guest of VM {note.name} has let go of {nic.mac}, whose host side was closed before this task"
    if has_link(nic):
        done = f"the macvtap {nic.ifname} of {nic.mac}, which an earlier task left behind, is removed"
    if nic.phase == "held":
        record_end(nic, past.nic(nic), "attach", auditor, session.messages(origin))
        auditor.prove()
        done = f"qemu had given up {nic.mac} of VM {note.name} before this task; it is on record now, late"
    remove_link(nic)
    if nic.mac in session.nics:
        nic.phase = "revoked"
    else:
        del note.interfaces[nic.mac]
    session.state.save(note)
    return done


def _settle(
    session: Session,
    note: Note,
    nic: NicNote,
    past: Past,
    auditor: Auditor,
    origin: Origin,
) -> str:
    """Finish or take back a hot-plug that was cut off."""
    messages = session.messages(origin)
    known = past.nic(nic)
    found = session.nics.get(nic.mac)
    if found is not None and found.is_whole:
        nic.devices = _handed_over(session, note, nic)
        if not known.granted:
            fds = fds_of(nic.devices)
            auditor.write(messages.net_grant("attach", nic.mac, fds, success=True))
            auditor.prove()
        nic.phase = "held"
        session.state.save(note)
        return f"the attach of {nic.mac} had been cut off after qemu had it; it is on record now"
    hotplug.roll_back(session.live.monitor, nic.mac, nic.queues)
    process = session.live.process
    holding = holdings.wait_free(nic.ifname, nic.ifindex, process)
    if holding is not None:
        raise StuckError(
            f"the attach of {nic.mac} to VM {note.name} (qemu, pid {process.pid}) had been cut off and cannot be taken"
            f" back: {holding}. Run the task again; if it says the same, end that process, or stop the VM (vm_net_detach"
            " with stop_vm: destroy)"
        )
    record_end(nic, known, "attach", auditor, messages)
    auditor.prove()
    remove_link(nic)
    del note.interfaces[nic.mac]
    session.state.save(note)
    return f"the attach of {nic.mac} had been cut off; it was recorded as failed and undone"


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
