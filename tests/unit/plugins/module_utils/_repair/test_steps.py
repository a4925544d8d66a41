# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps that are left to do for a VM, in order."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import Logged
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import FrontEnd
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair.steps import (
    Host,
    steps_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.history import History
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_note,
    tun,
)

SAYS = Messages(Vm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None))
STOP = SAYS.control("stop", "crashed", 1, True)
# No task was cut off, or the task had not reached its first record.
NOTHING = History(None)
FRONT_END = FrontEnd("/machine/peripheral/net", "virtio-net-pci", MAC, "hostnet")
WHOLE = Nic(MAC, FRONT_END, "hostnet", [tun(31)], None)
GUEST_SIDE = Nic(MAC, FRONT_END, "hostnet", [], None)
HOST_SIDE = Nic(MAC, None, "hostnet", [tun(31)], None)


def a_host(
    link: bool = False,
    updated: bool = False,
    now: tuple[str | None, str | None] = ("vt525400000001", "br0"),
) -> Host:
    """Return a host that has or lacks the remains of an interface, and the network of an update.

    ``now`` is the name of the interface's link, and the bridge of that link.
    """
    return Host(lambda nic: link, lambda nic: updated, lambda nic: now)


# the interface's phase, what the host shows of it, whether its macvtap is left; the step, whether it writes a record
NICS: list[tuple[t.Any, Nic | None, bool, str | None, bool]] = [
    ("held", WHOLE, False, None, False),
    ("held", HOST_SIDE, False, None, False),
    ("held", GUEST_SIDE, False, "record_end", True),
    ("held", None, True, "record_end", True),
    ("opening", WHOLE, False, "confirm", True),
    ("opening", HOST_SIDE, False, "take_back", True),
    ("opening", GUEST_SIDE, False, "take_back", True),
    ("opening", None, False, "take_back", True),
    ("revoked", GUEST_SIDE, False, None, False),
    ("revoked", GUEST_SIDE, True, "forget", False),
    ("revoked", None, False, "forget", False),
]


@pytest.mark.parametrize(("phase", "found", "link", "action", "records"), NICS)
@pytest.mark.parametrize("audit", ["required", "off"])
def test_an_interface_of_a_vm_that_lives(
    phase: t.Any,
    found: Nic | None,
    link: bool,
    action: str | None,
    records: bool,
    audit: t.Any,
) -> None:
    note = a_note(interfaces={MAC: a_nic_note(phase=phase)}, audit=audit)
    nics = {} if found is None else {MAC: found}
    steps = steps_of(note, NOTHING, True, nics, a_host(link))
    assert [step.action for step in steps] == ([] if action is None else [action])
    for step in steps:
        assert step.nic is note.interfaces[MAC]
        assert step.records is (records and audit == "required")
        assert MAC in step.foreseen
        assert MAC in step.reported
        assert step.foreseen != step.reported


@pytest.mark.parametrize(
    ("alive", "changes", "records", "words"),
    [
        (False, {}, True, "had ended by itself; its end will be put on record, late"),
        (False, {"started": False}, False, "had ended by itself"),
        (False, {"audit": "off"}, False, "had ended by itself"),
        (True, {"booting": True}, True, "it will be recorded as failed and undone"),
        (False, {"booting": True}, True, "it will be recorded as failed and undone"),
    ],
)
def test_the_end_of_a_vm_is_the_only_step(
    alive: bool, changes: dict[str, t.Any], records: bool, words: str
) -> None:
    (step,) = steps_of(
        a_note(frozen=True, **changes), NOTHING, alive, {MAC: WHOLE}, a_host(True)
    )
    assert (step.action, step.records) == ("end", records)
    assert words in step.foreseen


def test_a_vm_without_a_record_of_its_own() -> None:
    note = a_note(started=False, interfaces={MAC: a_nic_note()})
    (step,) = steps_of(note, NOTHING, False, {}, a_host(False))
    assert step.records
    note.interfaces[MAC].phase = "revoked"
    (step,) = steps_of(note, NOTHING, False, {}, a_host(False))
    assert not step.records


def test_a_guest_that_stands_still_continues_first() -> None:
    note = a_note(frozen=True, interfaces={MAC: a_nic_note(phase="opening")})
    # The task that noted the VM has ended, and somebody may have paused the guest.
    steps = steps_of(note, NOTHING, True, {}, a_host(False))
    assert [step.action for step in steps] == ["take_back"]
    note.busy = 1.0
    steps = steps_of(note, NOTHING, True, {}, a_host(False))
    assert [step.action for step in steps] == ["go_on", "take_back"]
    assert not steps[0].records


def on_record(*records: Record) -> History:
    """Return the history of a task that was cut off after these records."""
    history = History(None)
    history.records = [
        Logged(f"1.000:{serial}", 1.0, record)
        for serial, record in enumerate(records, 1)
    ]
    return history


DETACHED = (SAYS.net_detach(MAC, True), SAYS.net_close(MAC, tun(31), 31))
FAILED = (
    SAYS.net_grant("start", MAC, [], False),
    SAYS.control("start", "booted", 0, False),
)


@pytest.mark.parametrize(
    ("phase", "found", "records", "action", "due"),
    [
        ("held", None, DETACHED[:1], "record_end", True),
        ("held", None, DETACHED, "record_end", False),
        (
            "opening",
            None,
            [SAYS.net_grant("attach", MAC, [], False)],
            "take_back",
            False,
        ),
        (
            "opening",
            WHOLE,
            [SAYS.net_grant("attach", MAC, [31], True)],
            "confirm",
            False,
        ),
    ],
)
def test_a_step_that_is_on_record_is_not_recorded_again(
    phase: t.Any,
    found: Nic | None,
    records: t.Sequence[Record],
    action: str,
    due: bool,
) -> None:
    devices = [tun(31)] if phase == "held" else []
    note = a_note(interfaces={MAC: a_nic_note(phase=phase, devices=devices)})
    nics = {} if found is None else {MAC: found}
    (step,) = steps_of(note, on_record(*records), True, nics, a_host(False))
    assert (step.action, step.records) == (action, due)


@pytest.mark.parametrize(
    ("changes", "records", "due", "words"),
    [
        ({}, [STOP, *DETACHED], False, "a part of that was not on record"),
        ({}, [STOP, *DETACHED[:1]], True, "the rest will be put on record, late"),
        ({}, DETACHED, True, "had ended by itself"),
        ({"started": False}, DETACHED, False, "had ended by itself"),
        ({"booting": True}, [*FAILED, *DETACHED[1:]], False, "had been cut off"),
        ({"booting": True}, FAILED, True, "had been cut off"),
        ({"booting": True}, FAILED[:1], True, "had been cut off"),
    ],
)
def test_the_records_of_an_end(
    changes: dict[str, t.Any], records: t.Sequence[Record], due: bool, words: str
) -> None:
    nic = a_nic_note(phase="opening" if changes.get("booting") else "held")
    nic.devices = [tun(31)]
    note = a_note(interfaces={MAC: nic}, **changes)
    (step,) = steps_of(note, on_record(*records), False, {}, a_host(False))
    assert (step.action, step.records) == ("end", due)
    assert words in step.foreseen


UPDATED = Network("br1", isolated="yes")
UPDATES = SAYS.net_updates(MAC, "vt525400000001", Network("br0"), UPDATED, True)
NO_UPDATES = SAYS.net_updates(MAC, "vt525400000001", Network("br0"), UPDATED, False)


@pytest.mark.parametrize(
    ("updated", "records", "action", "due"),
    [
        (True, [], "finish_update", True),
        (True, UPDATES[:1], "finish_update", True),
        (True, UPDATES, "finish_update", False),
        (True, NO_UPDATES, "finish_update", True),
        (False, [], "undo_update", True),
        (False, NO_UPDATES[:1], "undo_update", True),
        (False, NO_UPDATES, "undo_update", False),
    ],
)
def test_an_update_that_was_cut_off(
    updated: bool, records: t.Sequence[Record], action: str, due: bool
) -> None:
    nic = a_nic_note(updating=UPDATED)
    note = a_note(interfaces={MAC: nic})
    history = on_record(*records)
    (step,) = steps_of(note, history, True, {MAC: WHOLE}, a_host(updated=updated))
    assert (step.action, step.records, step.nic) == (action, due, nic)
    note.audit = "off"
    (step,) = steps_of(note, history, True, {MAC: WHOLE}, a_host(updated=updated))
    assert not step.records


@pytest.mark.parametrize("updated", [True, False])
def test_an_update_of_a_link_that_something_else_had_changed(updated: bool) -> None:
    """The records name the network that the kernel showed, and not the noted one."""
    shown = Network("br7", mtu="1500")
    after = Network("br1", mtu="1400")
    nic = a_nic_note(updating=after, observed=shown)
    note = a_note(interfaces={MAC: nic})
    for before, due in ((Network("br0"), True), (shown, False)):
        said = SAYS.net_updates(MAC, "vt525400000001", before, after, updated)
        host = a_host(updated=updated)
        (step,) = steps_of(note, on_record(*said), True, {MAC: WHOLE}, host)
        assert step.records is due


@pytest.mark.parametrize(
    ("found", "now", "action", "words"),
    [
        (WHOLE, ("vt525400000001", "br0"), "confirm", "after qemu had it;"),
        (
            WHOLE,
            ("vt525400000001", "br1"),
            "confirm",
            "had it, and its link vt525400000001 is on br1 now, and not on br0;",
        ),
        (
            WHOLE,
            ("vt525400000001", None),
            "confirm",
            "had it, and its link vt525400000001 is on no network now, and not on br0;",
        ),
        (
            WHOLE,
            ("eth9", "br0"),
            "confirm",
            "had it, and its link vt525400000001 is named eth9 now;",
        ),
        (
            WHOLE,
            (None, None),
            "take_back",
            "had it, and its link vt525400000001 was removed since;",
        ),
        # The link disappeared with the interrupted task, or was not on its network yet.
        (None, (None, None), "take_back", "had been cut off;"),
        (None, ("vt525400000001", None), "take_back", "had been cut off;"),
        (
            None,
            ("vt525400000001", "br1"),
            "take_back",
            "cut off, and its link vt525400000001 is on br1 now, and not on br0;",
        ),
    ],
)
def test_a_link_that_somebody_changed_meanwhile(
    found: Nic | None, now: tuple[str | None, str | None], action: str, words: str
) -> None:
    note = a_note(interfaces={MAC: a_nic_note(phase="opening", ifindex=7)})
    nics = {} if found is None else {MAC: found}
    (step,) = steps_of(note, NOTHING, True, nics, a_host(now=now))
    assert step.action == action
    assert words in step.foreseen
