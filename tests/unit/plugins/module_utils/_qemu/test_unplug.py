# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MonitorError,
    QmpError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import holdings
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.hotplug import (
    Unplugged,
    close_backends,
    unplug,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import tun, vhost
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

A = "/machine/peripheral/net-a"
B = "/machine/peripheral/net-b"


class Guest(FakeQemu):
    """A guest that releases each of ``nics`` after a number of requests, or never (``None``).

    Time passes only while somebody waits for an event.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **nics: int | None) -> None:
        super().__init__()
        self.left = {
            f"/machine/peripheral/net-{key}": left for key, left in nics.items()
        }
        self.asked: list[str] = []
        self.now = 0.0
        self.waits: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def _device_del(self, id: str) -> None:  # noqa: A002
        self.asked.append(id)
        if id not in self.left:
            raise QmpError("device_del", "DeviceNotFound", f"Device '{id}' not found")
        left = self.left[id]
        if left is not None and left > 1:
            self.left[id] = left - 1
            if self.asked.count(id) > 1:
                raise QmpError(
                    "device_del",
                    "GenericError",
                    f"Device {id} is already in the process of unplug",
                )
        elif left is not None:
            del self.left[id]
            # The device inside a virtio NIC disappears first. It has a path of its own.
            self.events += [deleted(f"{id}/virtio-backend"), deleted(id)]

    def wait_event(self, deadline: float) -> dict[str, t.Any] | None:
        if self.events:
            self.now += 0.01
            return self.events.pop(0)
        self.waits.append(deadline - self.now)
        self.now = max(self.now, deadline)
        return None


def deleted(path: str) -> dict[str, t.Any]:
    return {"event": "DEVICE_DELETED", "data": {"path": path, "device": path[-5:]}}


def test_the_guest_releases_both_nics_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(monkeypatch, a=1, b=1)
    guest.events = [{"event": "NIC_RX_FILTER_CHANGED", "data": {"path": A}}]
    assert unplug(guest.monitor, [B, A], 10.0) == Unplugged({A, B})
    assert guest.asked == [A, B]
    assert guest.waits == []


def test_the_event_of_the_inner_device_is_not_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = Guest(monkeypatch, a=None)
    guest.events = [
        deleted(f"{A}/virtio-backend"),
        deleted(B),
        {"event": "DEVICE_DELETED"},
        {"event": "DEVICE_UNPLUG_GUEST_ERROR", "data": {"path": A}},
    ]
    assert unplug(guest.monitor, [A], 0.5) == Unplugged()
    assert guest.events == []


def test_a_lost_request_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(monkeypatch, a=4, b=1)
    assert unplug(guest.monitor, [A, B], 60.0) == Unplugged({A, B})
    assert guest.asked == [A, B, A, A, A]
    assert guest.waits == [pytest.approx(1.0, abs=0.05)] * 3


def test_a_guest_that_never_releases_a_nic(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(monkeypatch, a=None, b=1)
    assert unplug(guest.monitor, [A, B], 2.5) == Unplugged({B})
    assert guest.now == 2.5
    assert guest.asked == [A, B, A, A]


def test_one_request_even_without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(monkeypatch, a=None, b=None)
    assert unplug(guest.monitor, [A, B], 0.0) == Unplugged()
    assert guest.asked == [A, B]


def test_a_nic_that_is_gone_already(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(monkeypatch, b=1)
    assert unplug(guest.monitor, [A, B], 10.0) == Unplugged({A, B})
    assert guest.waits == []


def test_a_nic_that_goes_between_two_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(monkeypatch, a=1)

    def without_event(given: t.Mapping[str, t.Any]) -> None:
        guest._device_del(**given)
        guest.events.clear()

    guest.answers["device_del"] = without_event
    assert unplug(guest.monitor, [A], 10.0) == Unplugged({A})
    assert guest.asked == [A, A]


def test_nothing_to_unplug(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(monkeypatch)
    assert unplug(guest.monitor, [], 10.0) == Unplugged()
    assert guest.log == []


def test_a_refused_nic_does_not_keep_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = Guest(monkeypatch, b=2)
    reason = "Bus 'pcie.0' does not support hotplugging"

    def refuse(given: t.Mapping[str, t.Any]) -> None:
        if given["id"] == A:
            raise QmpError("device_del", "GenericError", reason)
        guest._device_del(**given)

    guest.answers["device_del"] = refuse
    assert unplug(guest.monitor, [A, B], 10.0) == Unplugged({B}, {A: reason})


BUSY = "Hot-unplug failed: guest is busy (power indicator blinking)"


@pytest.mark.parametrize("taken", [True, False])
def test_a_slot_that_is_busy_for_a_while(
    monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    guest = Guest(monkeypatch, a=3)

    def drive(given: t.Mapping[str, t.Any]) -> None:
        busy = guest.now >= 1.0 if taken else guest.now < 4.0
        if busy and guest.now < 5.0:
            raise QmpError("device_del", "GenericError", BUSY)
        guest._device_del(**given)

    guest.answers["device_del"] = drive
    assert unplug(guest.monitor, [A], 20.0) == Unplugged({A})
    guest = Guest(monkeypatch, a=None)
    guest.answers["device_del"] = drive
    # A request that the guest accepted stays pending, and one that it never accepted does not
    # count.
    refused = {} if taken else {A: BUSY}
    assert unplug(guest.monitor, [A], 2.5) == Unplugged(set(), refused)


NETDEV = "hostnet-525400000001"
HELD = [tun(31), vhost(32)]


@pytest.fixture(name="qemu")
def fixture_qemu(monkeypatch: pytest.MonkeyPatch) -> FakeQemu:
    monkeypatch.setattr(holdings, "_RELEASE_SECONDS", 0.05)
    qemu = FakeQemu()
    qemu.held = {opened.fileno(): opened for opened in HELD}
    qemu.netdevs = {NETDEV: [31, 32]}
    return qemu


def close(qemu: FakeQemu) -> list[Device]:
    return close_backends(qemu.monitor, qemu.process, {NETDEV: HELD})[NETDEV]


def test_close_a_back_end(qemu: FakeQemu) -> None:
    assert close(qemu) == []
    assert qemu.log == [("netdev_del", {"id": NETDEV})]


def test_a_device_that_qemu_still_holds_is_reported(qemu: FakeQemu) -> None:
    qemu.netdevs = {NETDEV: [31]}
    assert close(qemu) == [vhost(32)]


def test_qemu_takes_a_moment(qemu: FakeQemu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "_RELEASE_SECONDS", 5.0)
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            qemu.held.clear()

    qemu.netdevs = {NETDEV: []}
    monkeypatch.setattr(time, "sleep", nap)
    assert close(qemu) == []
    assert len(naps) == 3


@pytest.mark.parametrize("held", [True, False])
def test_a_back_end_that_is_gone_already(qemu: FakeQemu, held: bool) -> None:
    qemu.netdevs.clear()
    if not held:
        qemu.held.clear()
    found = close(qemu)
    assert found == (HELD if held else [])


@pytest.mark.parametrize(
    "failure",
    [QmpError("netdev_del", "GenericError", "busy"), MonitorError("qemu is gone")],
)
def test_close_a_back_end_refused(qemu: FakeQemu, failure: MonitorError) -> None:
    qemu.fails["netdev_del"] = failure
    with pytest.raises(MonitorError) as caught:
        close(qemu)
    assert caught.value is failure


def test_many_back_ends_at_once(qemu: FakeQemu) -> None:
    qemu.held.update({33: tun(33, "vtb"), 34: tun(34, "vtc")})
    qemu.netdevs.update({"b": [33], "c": []})
    backends = {NETDEV: HELD, "b": [tun(33, "vtb")], "c": [tun(34, "vtc")]}
    left = close_backends(qemu.monitor, qemu.process, backends)
    assert left == {NETDEV: [], "b": [], "c": [tun(34, "vtc")]}
    assert qemu.commands == ["netdev_del"] * 3
