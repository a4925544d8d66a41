# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MonitorError,
    QmpError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import holdings
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.eject import eject
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.hotplug import (
    close_backends,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import tun
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

NIC = "/machine/peripheral/net-a"
BUS = "/machine/peripheral/port0/port0"
BASE = 0xCC0
HELD = tun(41)


class KeepingQemu(FakeQemu):
    """A qemu that keeps a back end as long as its NIC, with the registers that eject a card.

    An ``old`` qemu closes the fds at netdev_del. ``bsel`` is the bus's number, or ``None`` if the machine has
    no such registers. A ``stuck`` qemu ignores it.
    """

    def __init__(
        self, *, old: bool = False, bsel: int | None = 3, stuck: bool = False
    ) -> None:
        super().__init__()
        self.old, self.bsel, self.stuck = old, bsel, stuck
        self.running = True
        self.cards = 1
        self.selected = 7
        self.held = {HELD.fileno(): HELD}
        self.netdevs = {"hostnet-a": [HELD.fileno()]}
        self.written: list[tuple[int, int, bool]] = []
        self.answers = {
            "netdev_del": self.keep,
            "device_del": self.delete,
            "query-status": lambda arguments: {"running": self.running},
            "stop": lambda arguments: self.run(False),
            "cont": lambda arguments: self.run(True),
            "qom-get": self.get,
            "qom-list": self.listing,
            "human-monitor-command": self.human,
        }

    def run(self, running: bool) -> None:
        self.running = running

    def keep(self, arguments: t.Mapping[str, t.Any]) -> None:
        if self.old:
            self.held.clear()

    def delete(self, arguments: t.Mapping[str, t.Any]) -> None:
        if not self.held:
            raise QmpError("device_del", "DeviceNotFound", "not found")

    def get(self, arguments: t.Mapping[str, t.Any]) -> t.Any:
        values: dict[str, t.Any] = {"parent_bus": BUS, "acpi-pcihp-io-base": BASE}
        if self.bsel is not None:
            values["acpi-pcihp-bsel"] = self.bsel
        if arguments["property"] not in values:
            raise QmpError("qom-get", "GenericError", "Property not found")
        return values[arguments["property"]]

    def listing(self, arguments: t.Mapping[str, t.Any]) -> t.Any:
        if arguments["path"] == BUS:
            cards = range(self.cards)
            return [{"name": f"child[{card}]", "type": "link<nic>"} for card in cards]
        return [{"name": "device[4]", "type": "child<ICH9-LPC>"}]

    def human(self, arguments: t.Mapping[str, t.Any]) -> str:
        verb, _size, port, *value = arguments["command-line"].split()
        if verb == "i":
            assert int(port, 16) == BASE + 0x10
            return f"portl[0x{BASE + 0x10:04x}] = 0x{self.selected:08x}\r\n"
        self.written.append((int(port, 16) - BASE, int(value[0], 16), self.running))
        if int(port, 16) == BASE + 0x10 and not self.stuck:
            self.selected = int(value[0], 16)
        elif int(port, 16) == BASE + 0x08 and self.selected == self.bsel:
            self.held.clear()
        return ""


def given_back(qemu: KeepingQemu, device: Device = HELD) -> list[Device]:
    backends, cards = {"hostnet-a": [device]}, {"hostnet-a": NIC}
    return close_backends(qemu.monitor, qemu.process, backends, cards)["hostnet-a"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdings, "_RELEASE_SECONDS", 0.0)


def test_an_old_qemu_needs_no_eject() -> None:
    qemu = KeepingQemu(old=True)
    assert given_back(qemu) == []
    assert qemu.commands == ["netdev_del"]


@pytest.mark.parametrize("running", [True, False])
def test_a_card_is_pulled_out_of_a_frozen_machine(running: bool) -> None:
    qemu = KeepingQemu()
    qemu.running = running
    assert given_back(qemu) == []
    assert qemu.commands[:2] == ["netdev_del", "device_del"]
    # Select the bus, eject slot 0, and restore the selection, but never while the CPUs run.
    assert qemu.written == [(0x10, 3, False), (0x08, 1, False), (0x10, 7, False)]
    assert qemu.running is running
    assert ("cont" in qemu.commands) is running


@pytest.mark.parametrize(
    ("changes", "cards"), [({"bsel": None}, 1), ({"stuck": True}, 1), ({}, 2)]
)
def test_a_card_that_cannot_be_pulled_out_stays_held(
    changes: dict[str, t.Any], cards: int
) -> None:
    qemu = KeepingQemu(**changes)
    qemu.cards = cards
    assert given_back(qemu) == [HELD]
    assert 0x08 not in [port for port, _value, _running in qemu.written]
    assert qemu.running
    with pytest.raises(MonitorError, match="ACPI hot-plug register"):
        eject(qemu.monitor, NIC)


def test_the_machine_goes_on_when_the_eject_fails() -> None:
    qemu = KeepingQemu()
    qemu.answers["human-monitor-command"] = lambda arguments: "unknown command: 'i'"
    with pytest.raises(MonitorError, match="does not read I/O port 0xcd0"):
        eject(qemu.monitor, NIC)
    assert qemu.running
    assert qemu.commands[-1] == "cont"


def test_the_machine_goes_on_when_qemu_answers_the_stop_too_late() -> None:
    """qemu writes everything to its disks before it answers, and may take longer for that than the task waits."""
    qemu = KeepingQemu()

    def stop(arguments: t.Mapping[str, t.Any]) -> None:
        qemu.run(False)
        raise MonitorError("qemu did not answer stop within 10 s")

    qemu.answers["stop"] = stop
    assert given_back(qemu) == [HELD]
    assert qemu.running
    with pytest.raises(MonitorError, match="did not answer stop"):
        eject(qemu.monitor, NIC)
    assert qemu.running


def test_without_a_front_end_nothing_is_pulled_out() -> None:
    qemu = KeepingQemu()
    held = close_backends(qemu.monitor, qemu.process, {"hostnet-a": [HELD]})
    assert held == {"hostnet-a": [HELD]}
    assert qemu.commands == ["netdev_del"]


def test_a_vdpa_device_is_closed_when_its_card_is_out() -> None:
    # qemu 7.2 loses the descriptor of a vdpa device that is deleted before its card is out.
    qemu = KeepingQemu()
    device = Device("/dev/vhost-vdpa-3", "F0:03", "vhost-vdpa-3", HELD.fd)
    qemu.held = {HELD.fileno(): device}
    assert given_back(qemu, device) == []
    assert qemu.written[1] == (0x08, 1, False)
    assert qemu.commands.index("netdev_del") > qemu.commands.index("device_del")
    assert qemu.commands[-1] == "netdev_del"


def test_a_vdpa_device_whose_card_stays_is_not_deleted() -> None:
    qemu = KeepingQemu(bsel=None)
    device = Device("/dev/vhost-vdpa-3", "F0:03", "vhost-vdpa-3", HELD.fd)
    qemu.held = {HELD.fileno(): device}
    assert given_back(qemu, device) == [device]
    assert "netdev_del" not in qemu.commands


def test_only_a_card_that_is_pulled_out_stops_the_guest() -> None:
    old, kept = KeepingQemu(old=True), KeepingQemu()
    stops = []

    @contextlib.contextmanager
    def pulling() -> t.Iterator[None]:
        stops.append(list(kept.commands))
        yield

    backends, cards = {"hostnet-a": [HELD]}, {"hostnet-a": NIC}
    for qemu in (old, kept):
        close_backends(qemu.monitor, qemu.process, backends, cards, pulling)
    assert stops == [["netdev_del"]]
