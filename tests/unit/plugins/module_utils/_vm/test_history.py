# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

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
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.parse import Logged
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.history import (
    History,
    of_note,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import NicNote
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_note,
    tun,
    vhost,
)

SAYS = Messages(Vm("web01", UUID, "kvm"), Origin("/usr/bin/python3", None, None))
OTHER = "52:54:00:00:00:02"
OPEN_TUN = SAYS.net_open(MAC, tun(10), True)
OPEN_VHOST = SAYS.net_open(MAC, vhost(11), True)
CLOSE_TUN = SAYS.net_close(MAC, tun(10), 10)
CLOSE_TAKEN_BACK = SAYS.net_close(MAC, tun(1), 1)
START = SAYS.net_grant("start", MAC, [10], True)
ATTACH = SAYS.net_grant("attach", MAC, [10], True)
NO_ATTACH = SAYS.net_grant("attach", MAC, [], False)
DETACH = SAYS.net_detach(MAC, True)
NO_DETACH = SAYS.net_detach(MAC, False)


def in_log(monkeypatch: pytest.MonkeyPatch, records: list[Record]) -> History:
    """Return the history of an interrupted task. Its records have the serials 1, 2, and so on."""
    logged = [
        Logged(f"1.000:{serial}", 1.0, record)
        for serial, record in enumerate(records, 1)
    ]
    asked: list[tuple[str, object]] = []

    def records_of(uuid: str, since: float) -> list[Logged]:
        asked.append((uuid, since))
        return logged

    monkeypatch.setattr(recent, "records_of", records_of)
    found = History(a_note(busy=100.0))
    assert asked == [(UUID, pytest.approx(99.9))]
    return found


# phase, devices of the note, records, (path, fd) outstanding, granted, settled
CASES: list[
    tuple[str, list[Device], list[Record], list[tuple[str, int | None]], bool, bool]
] = [
    ("opening", [], [], [], False, False),
    ("opening", [], [OPEN_TUN], [("/dev/net/tun", None)], False, False),
    ("opening", [tun(1)], [OPEN_TUN], [("/dev/net/tun", 1)], False, False),
    (
        "opening",
        [tun(1)],
        [OPEN_TUN, OPEN_VHOST],
        [("/dev/net/tun", 1), ("/dev/vhost-net", None)],
        False,
        False,
    ),
    ("opening", [tun(1)], [OPEN_TUN, CLOSE_TUN], [], False, False),
    ("opening", [tun(1)], [OPEN_TUN, ATTACH], [("/dev/net/tun", 10)], True, False),
    # The record of the attach was kept, but the task did not know and took the attach back. So it
    # closed its own descriptor.
    ("opening", [tun(1)], [OPEN_TUN, ATTACH, CLOSE_TAKEN_BACK], [], True, False),
    ("opening", [tun(1)], [OPEN_TUN, NO_ATTACH], [("/dev/net/tun", 1)], False, True),
    ("opening", [tun(1)], [OPEN_TUN, NO_ATTACH, CLOSE_TUN], [], False, True),
    ("opening", [], [SAYS.net_open(MAC, tun(1), False)], [], False, False),
    ("opening", [tun(9)], [], [("/dev/net/tun", 9)], False, False),
    ("held", [tun(99)], [], [("/dev/net/tun", 99)], True, False),
    ("held", [tun(99)], [DETACH], [("/dev/net/tun", 99)], False, True),
    ("held", [tun(99)], [NO_DETACH], [("/dev/net/tun", 99)], True, False),
    ("held", [tun(99)], [DETACH, CLOSE_TUN], [], False, True),
    (
        "held",
        [tun(99)],
        [DETACH, CLOSE_TUN, OPEN_TUN],
        [("/dev/net/tun", None)],
        False,
        False,
    ),
    ("held", [], [START, DETACH], [], False, True),
    # The earlier task began right after the hand-over, and its open is older than the records that
    # are read here.
    ("held", [tun(10)], [START], [("/dev/net/tun", 10)], True, False),
    ("held", [tun(10)], [ATTACH, DETACH], [("/dev/net/tun", 10)], False, True),
    ("held", [tun(10)], [ATTACH, DETACH, CLOSE_TUN], [], False, True),
    (
        "held",
        [tun(10)],
        [DETACH, CLOSE_TUN, OPEN_TUN, ATTACH],
        [("/dev/net/tun", 10)],
        True,
        False,
    ),
    ("opening", [], [SAYS.net_open(OTHER, tun(1), True)], [], False, False),
    ("held", [], [SAYS.net_detach(OTHER, True)], [], True, False),
]


@pytest.mark.parametrize(
    ("phase", "devices", "records", "outstanding", "granted", "settled"), CASES
)
def test_past(
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    devices: list[Device],
    records: list[Record],
    outstanding: list[tuple[str, int | None]],
    granted: bool,
    settled: bool,
) -> None:
    note: NicNote = a_nic_note(phase=phase, devices=devices)
    found = in_log(monkeypatch, records).nic(note)
    assert [(each.path, each.fd) for each in found.outstanding] == outstanding
    assert (found.granted, found.settled) == (granted, settled)


def test_a_close_takes_its_own_fd(monkeypatch: pytest.MonkeyPatch) -> None:
    note = a_nic_note(devices=[tun(10), tun(12)])
    found = in_log(monkeypatch, [SAYS.net_close(MAC, tun(12), 12)]).nic(note)
    assert [each.fd for each in found.outstanding] == [10]


def test_an_open_that_was_not_confirmed_is_one_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = Device("/dev/net/tun", "0A:C8", "vt525400000001", 10, None)
    note = a_nic_note(phase="opening", devices=[opened])
    found = in_log(monkeypatch, [OPEN_TUN]).nic(note)
    assert len(found.outstanding) == 1


@pytest.mark.parametrize(
    ("now", "since"),
    [
        (1060.0, 1000.0),
        # Somebody has set the clock back by an hour, or ahead by an hour.
        (1060.0 - 3600, 1000.0 - 3600),
        (1060.0 + 3600, 1000.0),
    ],
)
def test_a_clock_that_was_set_hides_no_record(
    monkeypatch: pytest.MonkeyPatch, now: float, since: float
) -> None:
    asked: list[float] = []

    def records_of(_uuid: str, since: float) -> list[Logged]:
        asked.append(since)
        return []

    monkeypatch.setattr(recent, "records_of", records_of)
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: 560.0)
    History(a_note(busy=1000.0, busy_up=500.0))
    assert asked == [pytest.approx(since - 0.1)]


def test_without_a_task_that_was_cut_off_no_log_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recent, "records_of", None)
    note = a_nic_note(devices=[tun(31)])
    found = History(a_note()).nic(note)
    assert found == of_note(note)
    assert (found.granted, found.settled) == (True, False)
    assert History(a_note()).control() == (None, None)


@pytest.mark.parametrize(
    ("records", "control"),
    [
        ([OPEN_TUN, START], (None, None)),
        ([SAYS.control("start", "booted", 1, True), START], ("start", "success")),
        (
            [
                SAYS.control("start", "booted", 1, True),
                SAYS.control("stop", "shutdown", 1, False),
            ],
            ("stop", "failed"),
        ),
        # The run before.
        (
            [
                SAYS.control("stop", "shutdown", 1, True),
                SAYS.machine_id(0, 0),
                OPEN_TUN,
            ],
            (None, None),
        ),
        (
            [SAYS.machine_id(0, 0), SAYS.control("start", "booted", 1, True)],
            ("start", "success"),
        ),
    ],
)
def test_control(
    monkeypatch: pytest.MonkeyPatch,
    records: list[Record],
    control: tuple[str | None, str | None],
) -> None:
    assert in_log(monkeypatch, records).control() == control


def test_the_updates_that_are_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = Network("br0"), Network("br1", isolated="yes")
    made, failed = (
        SAYS.net_updates(MAC, "vt525400000001", before, after, success)
        for success in (True, False)
    )
    past = in_log(monkeypatch, [made[0], failed[1]])
    moved, isolated = before.changes(after)
    assert past.has_update(MAC, moved, True)
    assert not past.has_update(MAC, moved, False)
    assert not past.has_update(MAC, isolated, True)
    assert past.has_update(MAC, isolated, False)
    assert not past.has_update(OTHER, moved, True)
    assert not past.has_update(MAC, after.changes(before)[0], True)


@pytest.mark.parametrize("success", [True, False])
def test_an_earlier_update_of_the_same_kind_is_another_one(
    monkeypatch: pytest.MonkeyPatch, success: bool
) -> None:
    """The log is read from the first unfinished work on, and before it if somebody has set the clock back."""
    before, after = Network("br0"), Network("br1", link="down")

    def updates(old: Network, new: Network, done: bool) -> list[Record]:
        return SAYS.net_updates(MAC, "vt525400000001", old, new, done)

    there = updates(before, after, success)
    back = updates(after, before, True)
    other = SAYS.net_updates(OTHER, "vt525400000002", after, before, True)
    moved, down = before.changes(after)
    # The last task was cut off after the first of its two records.
    past = in_log(monkeypatch, [*there, *back, there[0], *other])
    assert past.has_update(MAC, moved, success)
    assert not past.has_update(MAC, down, success)
