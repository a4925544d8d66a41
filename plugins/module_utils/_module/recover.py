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
from .observe import Nic
from .session import Session

_END_SECONDS = 5.0
_STOPPED_BY_US = ("shutdown", "destroyed")


def messages_for(session: Session, origin: Origin, virt: str | None = None) -> Messages:
    """Return the maker of a VM's records."""
    return Messages(
        AuditedVm(session.name, session.uuid, virt or session.virt()), origin
    )


def bury(
    note: Note, state: VmState, auditor: Auditor, origin: Origin, reason: str
) -> None:
    """Write what the end of a VM means, and remove what is left of it.

    ``reason`` is VIRT_CONTROL's: ``shutdown``, ``destroyed``, ``crashed``, ``failed``. The
    one place for it, whether the VM was stopped, died, or was found dead. Raises
    :class:`AuditError`.
    """
    messages = Messages(AuditedVm(note.name, note.uuid, note.virt), origin)
    if note.started or reason in _STOPPED_BY_US:
        auditor.write(messages.control("stop", reason, note.pid or 0, success=True))
    for nic in note.interfaces.values():
        if nic.phase == "held":
            auditor.write(messages.net_detach(nic.mac, success=True))
            record_closes(nic, auditor, messages)
        remove_link(nic)
    state.remove()


def record_closes(nic: NicNote, auditor: Auditor, messages: Messages) -> None:
    """Write one close record for each device of an interface that was given up."""
    for opened in nic.devices:
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


def needs_repair(session: Session) -> bool:
    """Tell whether an earlier run, or the VM's end, left something to record or remove."""
    note = session.note
    if note is None:
        return False
    return (
        _is_dead(session, note)
        or any(nic.phase == "opening" for nic in note.interfaces.values())
        or (session.running and bool(_vanished(session, note)))
    )


def repair(session: Session, auditor: Auditor, origin: Origin) -> list[str]:
    """Record and remove what an earlier run or the VM's end left; return what was done, in words."""
    note = session.note
    if note is None:
        return []
    done: list[str] = []
    half = [nic for nic in note.interfaces.values() if nic.phase == "opening"]
    if half and note.pid is None and note.started:
        # It crashed in a cold start. The guest has not run: it is let go after its records.
        done += _undo_start(session, note, half, auditor, origin)
    elif _is_dead(session, note):
        done += _undo_dead(session, note, half, auditor, origin)
    else:
        for nic in half:
            done.append(_settle(session, note, nic, auditor, origin))
        for nic in _vanished(session, note):
            done.append(_forget(session, note, nic, auditor, origin))
    session.look()
    return done


def _is_dead(session: Session, note: Note) -> bool:
    if note.pid is None:
        return False
    if not session.running:
        return True
    process = session.live.process
    return (process.pid, process.start_time) != (note.pid, note.start_time)


def end_process(session: Session) -> None:
    """End a qemu that must not run: its start was never finished."""
    process = session.disconnect()
    if process is not None:
        process.kill()
        process.wait_end(_END_SECONDS)


def _vanished(session: Session, note: Note) -> list[NicNote]:
    """Return the noted NICs of a running VM that qemu does not have any more."""
    return [
        nic
        for nic in note.interfaces.values()
        if nic.phase != "opening" and nic.mac not in session.nics
    ]


def _forget(
    session: Session, note: Note, nic: NicNote, auditor: Auditor, origin: Origin
) -> str:
    """Record the end of a NIC that went behind our back; one that was revoked is on record."""
    if nic.phase == "held":
        messages = messages_for(session, origin)
        auditor.write(messages.net_detach(nic.mac, success=True))
        record_closes(nic, auditor, messages)
    remove_link(nic)
    del note.interfaces[nic.mac]
    session.state.save(note)
    return f"{nic.mac} had left VM {note.name} without this collection; it is on record now, late"


def _undo_start(
    session: Session, note: Note, half: list[NicNote], auditor: Auditor, origin: Origin
) -> list[str]:
    end_process(session)
    messages = Messages(AuditedVm(note.name, note.uuid, note.virt), origin)
    for nic in half:
        _record_failed("start", nic, auditor, messages)
    auditor.write(messages.control("start", "booted", 0, success=False))
    note.started = False
    bury(note, session.state, auditor, origin, "failed")
    session.note = None
    return [
        f"the start of VM {note.name} had been interrupted; it was recorded as failed and undone"
    ]


def _undo_dead(
    session: Session, note: Note, half: list[NicNote], auditor: Auditor, origin: Origin
) -> list[str]:
    messages = Messages(AuditedVm(note.name, note.uuid, note.virt), origin)
    for nic in half:
        _record_failed("attach", nic, auditor, messages)
    bury(note, session.state, auditor, origin, "crashed")
    session.note = None
    return [
        f"qemu (pid {note.pid}) of VM {note.name} had ended by itself; its end is on record now, late"
    ]


def _settle(
    session: Session, note: Note, nic: NicNote, auditor: Auditor, origin: Origin
) -> str:
    """Finish or take back a hot-plug that was interrupted."""
    messages = messages_for(session, origin)
    found: Nic | None = session.nics.get(nic.mac)
    if found is not None and found.front_end is not None and found.devices:
        nic.devices = _handed_over(session, note, nic)
        auditor.write(
            messages.net_grant(
                "attach", nic.mac, [opened.fd for opened in nic.devices], True
            )
        )
        nic.phase = "held"
        session.state.save(note)
        return f"the attach of {nic.mac} had been interrupted after qemu had it; it is on record now"
    hotplug.roll_back(session.live.monitor, nic.mac, max(nic.queues, len(nic.devices)))
    _record_failed("attach", nic, auditor, messages)
    remove_link(nic)
    del note.interfaces[nic.mac]
    session.state.save(note)
    return f"the attach of {nic.mac} had been interrupted; it was recorded as failed and undone"


def _handed_over(session: Session, note: Note, nic: NicNote) -> list[Device]:
    """Return what qemu holds of an interface, with the events of our opens where they are known."""
    process = session.live.process
    claimed = {
        opened.fd
        for other in note.interfaces.values()
        if other is not nic
        for opened in other.devices
    }
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


def _record_failed(
    reason: str, nic: NicNote, auditor: Auditor, messages: Messages
) -> None:
    auditor.write(messages.net_grant(reason, nic.mac, [], False))
    record_closes(nic, auditor, messages)
