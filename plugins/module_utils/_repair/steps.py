# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides what is left to do for a VM after an interrupted task or after its end. Pure. No other code decides it.

Check mode names the steps, and a run does them, for the VM of a task and for the other VMs of the host.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._vm.note import NicNote, Note

if t.TYPE_CHECKING:
    from .._vm.history import History, NicHistory
    from .._vm.nic import Nic

Action = t.Literal[
    "end",
    "go_on",
    "confirm",
    "take_back",
    "finish_update",
    "undo_update",
    "record_end",
    "forget",
]


class Host(t.NamedTuple):
    """The questions to the host about an interface. The code asks each only if the answer matters.

    The first asks whether something is left that a task made for the interface and that nobody holds. The second asks
    whether its link is on the network of an update. The third asks for the present name of its link, or ``None`` if
    somebody has removed it, and for its source.
    """

    has_remains: t.Callable[[NicNote], bool]
    is_updated: t.Callable[[NicNote], bool]
    link_of: t.Callable[[NicNote], tuple[str | None, str | None]]


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing that is left to do. ``what`` says what happened.

    ``will`` and ``done`` say what the task does about it, before and afterwards. ``records`` tells whether the
    step writes a record. ``nic`` is the interface that the step is about, and ``on_record`` is what is on
    record of it. Both are ``None`` for a step about the VM as a whole.
    """

    action: Action
    what: str
    will: str
    done: str
    records: bool
    nic: NicNote | None = None
    on_record: NicHistory | None = None

    @property
    def changes(self) -> bool:
        """Tell whether the task that does this step has changed something.

        If a task gives something up, that is a change, even if no record says it.
        """
        return self.records or self.action in ("end", "record_end")

    @property
    def foreseen(self) -> str:
        """Return it in words for check mode."""
        return f"{self.what}; {self.will}"

    @property
    def reported(self) -> str:
        """Return it in words for a run that has done it."""
        return f"{self.what}; {self.done}"


def steps_of(
    note: Note,
    history: History,
    alive: bool,
    nics: t.Mapping[str, Nic],
    host: Host,
) -> list[Step]:
    """Return what is left to do, in order, or nothing if the VM agrees with its note.

    ``history`` is what an interrupted task has on record. ``alive`` tells that the noted process lives.
    ``nics`` are the observed NICs, by MAC.
    """
    if note.booting or not alive:
        return [end_of(note, history)]
    steps = []
    # The task noted this before it stopped the guest. Its other work that was cut off is still
    # under way.
    if note.frozen and note.busy is not None:
        what = f"an interrupted task has left the guest of VM {note.name} paused"
        steps.append(
            Step(
                "go_on",
                what,
                "the guest will be resumed",
                "the guest runs again",
                False,
            )
        )
    for nic in note.interfaces.values():
        step = _step_of(note, history, nic, nics.get(nic.mac), host)
        if step is not None:
            steps.append(step)
    return steps


def end_of(note: Note, history: History) -> Step:
    """Return the step for a VM whose qemu has ended, or whose start was never finished."""
    nics = any(
        history.nic(nic).is_end_due
        for nic in note.interfaces.values()
        if nic.phase != "revoked"
    )
    operation, result = history.control()
    if note.booting:
        what = f"the start of VM {note.name} had been cut off"
        will = "it will be recorded as failed and undone"
        done = "it was recorded as failed and undone"
        control = operation is None or (operation, result) == ("start", "success")
    elif (operation, result) == ("stop", "success"):
        what = f"qemu (pid {note.pid}) of VM {note.name} had ended, and a part of that was not on record"
        will, done = "the rest will be put on record, late", "the rest is now, late"
        control = False
    else:
        what = f"qemu (pid {note.pid}) of VM {note.name} had ended by itself"
        will = "its end will be put on record, late"
        done, control = "its end is on record now, late", note.started
    return Step("end", what, will, done, note.audit != "off" and (control or nics))


def _step_of(
    note: Note,
    history: History,
    nic: NicNote,
    found: Nic | None,
    host: Host,
) -> Step | None:
    on_record = history.nic(nic)
    records = note.audit != "off" and on_record.is_end_due
    if nic.phase == "opening":
        what = f"the attach of {nic.mac} had been cut off"
        whole = found is not None and found.is_whole
        gone, moved = _moved(nic, whole, host)
        what += f" after qemu had it{moved}" if whole else moved
        if whole and not gone:
            will, done = "it will be put on record", "it is on record now"
            records = note.audit != "off" and not on_record.granted
            return Step("confirm", what, will, done, records, nic, on_record)
        will = "it will be recorded as failed and undone"
        done = "it was recorded as failed and undone"
        return Step("take_back", what, will, done, records, nic, on_record)
    if found is not None and found.devices:
        return _step_of_update(note, history, nic, host, on_record)
    if nic.phase == "held":
        what = f"qemu had given up {nic.mac} of VM {note.name} before this task"
        will, done = "it will be put on record, late", "it is on record now, late"
        return Step("record_end", what, will, done, records, nic, on_record)
    if host.has_remains(nic):
        what = f"an earlier task left {nic.ifname}, the link of {nic.mac}, or its filter behind"
        will, done = "it will be removed", "it is removed"
        return Step("forget", what, will, done, False, nic, on_record)
    if found is None:
        what = f"the guest of VM {note.name} has let go of {nic.mac}, whose host side was closed before this task"
        will, done = "no record will be written", "no record is due"
        return Step("forget", what, will, done, False, nic, on_record)
    return None


def _step_of_update(
    note: Note, history: History, nic: NicNote, host: Host, on_record: NicHistory
) -> Step | None:
    if nic.updating is None:
        return None
    updated = host.is_updated(nic)
    changes = nic.before_update.changes(nic.updating)
    missing = any(
        not history.has_update(nic.mac, change, updated) for change in changes
    )
    records = note.audit != "off" and missing
    what = f"the update of {nic.mac} had been cut off"
    if updated:
        what += " after its link was on its new network"
        will, done = "it will be put on record", "it is on record now"
        return Step("finish_update", what, will, done, records, nic, on_record)
    will = "it will be recorded as failed and undone"
    done = "it was recorded as failed and undone"
    return Step("undo_update", what, will, done, records, nic, on_record)


def _moved(nic: NicNote, whole: bool, host: Host) -> tuple[bool, str]:
    """Tell whether somebody has removed the link of an interrupted attach, and say in words what happened to the link.

    ``whole`` tells that qemu has the link. Otherwise the link disappears with the task that made it, and the task may
    not have put it on its network yet.
    """
    if nic.ifindex is None:
        return False, ""
    name, source = host.link_of(nic)
    if name is None:
        return True, f", and its link {nic.ifname} was removed since" if whole else ""
    said = f", and its link {nic.ifname}"
    if name != nic.ifname:
        return False, f"{said} is named {name} now"
    if source == nic.source or (source is None and not whole):
        return False, ""
    return False, f"{said} is on {source or 'no network'} now, and not on {nic.source}"
