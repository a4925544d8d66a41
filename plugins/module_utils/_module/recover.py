# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VM that is gone, and what a crashed task left half done: recorded, closed, removed."""

from __future__ import annotations

import contextlib

from .._audit.auditor import Auditor
from .._audit.messages import Messages
from .._audit.messages import Vm as AuditedVm
from .._audit.origin import Origin
from .._errors import LinkError
from .._net import device, link, sysfs
from .._net.device import Device
from .._qemu import hotplug
from .._qemu.process import holder_of
from .._state import NicNote, Note, VmState
from .leftovers import is_dead, lost
from .past import NicPast, Past
from .session import Session

_END_SECONDS = 5.0
_STOPPED_BY_US = ("shutdown", "destroyed")


def messages_for(session: Session, origin: Origin, virt: str | None = None) -> Messages:
    """Return the maker of a VM's records."""
    return Messages(
        AuditedVm(session.name, session.uuid, virt or session.virt()), origin
    )


def bury(
    note: Note,
    state: VmState,
    auditor: Auditor,
    origin: Origin,
    reason: str,
    past: Past,
) -> None:
    """Write what the end of a VM means, and remove what is left of it.

    ``reason`` is VIRT_CONTROL's: ``shutdown``, ``destroyed``, ``crashed``, ``failed``. The
    one place for it, whether the VM was stopped, died, or was found dead. What ``past`` has
    is not written again. Raises :class:`AuditError`.
    """
    messages = Messages(AuditedVm(note.name, note.uuid, note.virt), origin)
    if (note.started or reason in _STOPPED_BY_US) and past.control() != (
        "stop",
        "success",
    ):
        auditor.write(messages.control("stop", reason, note.pid or 0, success=True))
    for nic in note.interfaces.values():
        if nic.phase != "revoked":
            record_end(nic, past.nic(nic), "attach", auditor, messages)
        remove_link(nic)
    state.remove()


def record_end(
    nic: NicNote, past: NicPast, grant: str, auditor: Auditor, messages: Messages
) -> None:
    """Record that qemu holds nothing of an interface: its detach, or its failed ``grant``, and each close."""
    if past.granted:
        auditor.write(messages.net_detach(nic.mac, success=True))
    elif not past.settled:
        auditor.write(messages.net_grant(grant, nic.mac, [], success=False))
    for opened in past.outstanding:
        auditor.write(messages.net_close(nic.mac, opened, opened.fd))


def remove_link(nic: NicNote) -> None:
    """Remove the macvtap of an interface that nobody holds. A tap goes with its last fd."""
    name = nic.ifname
    if nic.type != "direct" or not nic.made or sysfs.macvtap_rdev(name) is None:
        return
    # The index is not known yet when a task crashed between making the link and noting it.
    same = (
        sysfs.ifindex(name) == nic.ifindex
        if nic.ifindex
        else sysfs.address(name) == nic.mac
    )
    if same and sysfs.lower(name) == nic.source and holder_of(name) is None:
        with contextlib.suppress(LinkError):
            link.remove(name)


def end_process(session: Session) -> None:
    """End a qemu that must not run: its start was never finished."""
    process = session.disconnect()
    if process is not None:
        process.kill()
        process.wait_end(_END_SECONDS)


def repair(session: Session, auditor: Auditor, origin: Origin) -> list[str]:
    """Record and remove what an earlier run or the VM's end left; return what was done, in words."""
    note = session.note
    if note is None:
        return []
    past = Past(note)
    session.begin(note)
    if note.booting:
        done = _undo_start(session, note, past, auditor, origin)
    elif is_dead(session, note):
        bury(note, session.state, auditor, origin, "crashed", past)
        session.note = None
        done = [
            f"qemu (pid {note.pid}) of VM {note.name} had ended by itself; its end is on record now, late"
        ]
    else:
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
    if nic.phase == "held":
        record_end(nic, past.nic(nic), "attach", auditor, messages_for(session, origin))
    remove_link(nic)
    if nic.mac in session.nics:
        nic.phase = "revoked"
    else:
        del note.interfaces[nic.mac]
    session.state.save(note)
    return f"qemu had given up {nic.mac} of VM {note.name} before this task; it is on record now, late"


def _undo_start(
    session: Session, note: Note, past: Past, auditor: Auditor, origin: Origin
) -> list[str]:
    """Take back a cold start that was cut off: its guest ran for a moment at most."""
    end_process(session)
    messages = Messages(AuditedVm(note.name, note.uuid, note.virt), origin)
    for nic in note.interfaces.values():
        record_end(nic, past.nic(nic), "start", auditor, messages)
        remove_link(nic)
    operation, result = past.control()
    if (operation, result) == ("start", "success"):
        auditor.write(messages.control("stop", "failed", note.pid or 0, success=True))
    elif operation is None:
        auditor.write(messages.control("start", "booted", note.pid or 0, success=False))
    session.state.remove()
    session.note = None
    return [
        f"the start of VM {note.name} had been cut off; it was recorded as failed and undone"
    ]


def _settle(
    session: Session,
    note: Note,
    nic: NicNote,
    past: Past,
    auditor: Auditor,
    origin: Origin,
) -> str:
    """Finish or take back a hot-plug that was cut off."""
    messages = messages_for(session, origin)
    known = past.nic(nic)
    found = session.nics.get(nic.mac)
    if found is not None and found.front_end is not None and found.devices:
        nic.devices = _handed_over(session, note, nic)
        if not known.granted:
            fds = [opened.fd for opened in nic.devices]
            auditor.write(messages.net_grant("attach", nic.mac, fds, success=True))
        nic.phase = "held"
        session.state.save(note)
        return f"the attach of {nic.mac} had been cut off after qemu had it; it is on record now"
    hotplug.roll_back(session.live.monitor, nic.mac, nic.queues)
    record_end(nic, known, "attach", auditor, messages)
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
    held = []
    for fd in sorted(process.fds() - claimed):
        found = process.device_at(fd)
        if found is not None and (
            found.dev == nic.ifname or found.path == device.VHOST_NET_PATH
        ):
            found.dev = nic.ifname
            held.append(found)
    held.sort(key=lambda opened: opened.path == device.VHOST_NET_PATH)
    for mine, opened in zip(nic.devices, held):
        if mine.path == opened.path:
            opened.event = mine.event
    return held
