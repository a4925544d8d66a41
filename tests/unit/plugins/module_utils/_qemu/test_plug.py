# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MonitorError,
    ProcessError,
    QmpError,
    StuckError,
    VirtauditError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface import (
    Interface,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.hotplug import (
    roll_back,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.plug import (
    Devices,
    Offer,
    Plugged,
    plug,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    an_interface,
    macvtap,
    tun,
    vhost,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

NAME = "vt525400000001"
TWO = an_interface(queues=2)
FOUR_FDS = [tun(10), tun(11), vhost(12), vhost(13)]


def give(
    qemu: FakeQemu, interface: Interface, devices: list[Device], port: str | None
) -> list[Device]:
    """Plug one NIC. Return its devices in qemu, or raise the error of the plug."""
    done = pass_of(qemu, Offer(interface, devices, port))
    if done.failure is not None:
        raise done.failure
    return done.held[interface.mac]


def pass_of(qemu: FakeQemu, *offers: Offer) -> Plugged:
    return plug(qemu.monitor, qemu.process, offers, lambda _given: None)


def refusal(command: str) -> QmpError:
    return QmpError(command, "GenericError", "no")


def test_order_of_commands() -> None:
    qemu = FakeQemu(FOUR_FDS)
    held = give(qemu, TWO, FOUR_FDS, "port3")
    assert qemu.log == [
        ("getfd", {"fdname": f"{NAME}-queue0"}),
        ("getfd", {"fdname": f"{NAME}-queue1"}),
        ("getfd", {"fdname": f"{NAME}-vhost0"}),
        ("getfd", {"fdname": f"{NAME}-vhost1"}),
        (
            "netdev_add",
            {
                "type": "tap",
                "id": "hostnet-525400000001",
                "fds": f"{NAME}-queue0:{NAME}-queue1",
                "vhost": True,
                "vhostforce": True,
                "vhostfds": f"{NAME}-vhost0:{NAME}-vhost1",
            },
        ),
        (
            "device_add",
            {
                "driver": "virtio-net-pci",
                "id": "net-525400000001",
                "netdev": "hostnet-525400000001",
                "mac": MAC,
                "bus": "port3",
                "addr": "0x0",
                "mq": True,
                "vectors": 6,
            },
        ),
    ]
    assert qemu.names == {}
    # qemu's numbers; path, interface and the event of the open have not changed
    assert held == [
        Device(opened.path, opened.rdev, opened.dev, number, opened.event)
        for number, opened in enumerate(FOUR_FDS, 41)
    ]


@pytest.mark.parametrize("opened", [tun(10), macvtap(10)])
def test_one_queue_without_vhost(opened: Device) -> None:
    qemu = FakeQemu([opened])
    (held,) = give(qemu, an_interface(), [opened], None)
    assert qemu.commands == ["getfd", "netdev_add", "device_add"]
    assert dict(qemu.log)["netdev_add"] == {
        "type": "tap",
        "id": "hostnet-525400000001",
        "fd": f"{NAME}-queue0",
        "vhost": False,
    }
    assert "bus" not in dict(qemu.log)["device_add"]
    assert held.fd == 41


# what fails, how many commands precede the rollback
STEPS: list[tuple[str | tuple[str, int], int]] = [
    (("getfd", 0), 1),
    (("getfd", 1), 2),
    (("getfd", 3), 4),
    ("netdev_add", 5),
    ("device_add", 6),
]


FAILURES = [refusal("x"), MonitorError("qemu hangs"), KeyboardInterrupt()]


@pytest.mark.parametrize(
    ("step", "before", "failure"),
    [
        (step, before, failure)
        for step, before in STEPS
        for failure in FAILURES
        if (step, type(failure)) != ("device_add", MonitorError)
    ],
)
def test_rollback(
    step: str | tuple[str, int], before: int, failure: BaseException
) -> None:
    qemu = FakeQemu(FOUR_FDS)
    qemu.fails[step] = failure
    with pytest.raises(type(failure)) as caught:
        give(qemu, TWO, FOUR_FDS, "port3")
    assert caught.value is failure
    # Queues that were sent with a refused one are taken back too.
    first = qemu.commands.index("device_del")
    assert first >= before
    assert qemu.commands[first : first + 2] == ["device_del", "netdev_del"]
    assert set(qemu.commands[first + 2 :]) == {"closefd"}
    assert (qemu.held, qemu.names, qemu.netdevs, qemu.nics) == ({}, {}, {}, {})


def test_a_nic_that_may_exist_is_left_to_the_next_task() -> None:
    # A paused guest would keep the NIC without a host side.
    qemu = FakeQemu(FOUR_FDS)
    qemu.fails["device_add"] = MonitorError("qemu hangs")
    with pytest.raises(StuckError, match="finish the hand-over or take it back"):
        give(qemu, TWO, FOUR_FDS, "port3")
    assert qemu.commands[-1] == "device_add"
    assert len(qemu.held) == 4


def test_the_first_error_stands_when_the_rollback_fails_too() -> None:
    qemu = FakeQemu(FOUR_FDS)
    qemu.fails = {
        "netdev_add": refusal("netdev_add"),
        "device_del": MonitorError("qemu is gone"),
    }
    with pytest.raises(StuckError, match=r"netdev_add: no.*still holds") as caught:
        give(qemu, TWO, FOUR_FDS, "port3")
    assert isinstance(caught.value.__cause__, QmpError)
    assert len(qemu.held) == 4


def test_a_fd_that_does_not_arrive() -> None:
    qemu = FakeQemu([tun(10)])
    qemu.silent_getfd = True
    with pytest.raises(ProcessError, match=r"/dev/net/tun to qemu .pid 4711"):
        give(qemu, an_interface(), [tun(10)], None)
    assert "netdev_add" not in qemu.commands
    assert qemu.names == {}


def test_a_fd_that_goes_to_another_file() -> None:
    qemu = FakeQemu([tun(10)])
    qemu.ours[10] = vhost(10)
    with pytest.raises(ProcessError, match=r"is not among qemu.s open files"):
        give(qemu, an_interface(), [tun(10)], None)
    assert qemu.held == {}


def test_other_files_that_qemu_opens_meanwhile_are_not_ours() -> None:
    qemu = FakeQemu([tun(10)])

    def busy(given: t.Mapping[str, t.Any]) -> None:
        qemu.held.update({5: vhost(5), 6: macvtap(6)})
        qemu._getfd(10, **given)

    qemu.answers["getfd"] = busy
    (held,) = give(qemu, an_interface(), [tun(10)], None)
    assert held.fd == 41


def test_a_fd_that_is_lost_at_the_end() -> None:
    qemu = FakeQemu(FOUR_FDS)
    qemu.answers["device_add"] = lambda given: qemu.held.pop(43)
    with pytest.raises(ProcessError, match="does not hold /dev/vhost-net as fd 43"):
        give(qemu, TWO, FOUR_FDS, "port3")
    assert qemu.held == {}
    assert qemu.netdevs == {}


@pytest.mark.parametrize("count", [1, 3])
def test_roll_back_of_nothing(count: int) -> None:
    qemu = FakeQemu()
    roll_back(qemu.monitor, MAC, count)
    assert qemu.log[:2] == [
        ("device_del", {"id": "net-525400000001"}),
        ("netdev_del", {"id": "hostnet-525400000001"}),
    ]
    assert sorted(given["fdname"] for _command, given in qemu.log[2:]) == sorted(
        f"{NAME}-{kind}{number}"
        for kind in ("queue", "vhost")
        for number in range(count)
    )


def test_roll_back_tells_when_qemu_is_gone() -> None:
    qemu = FakeQemu()
    qemu.fails["device_del"] = MonitorError("gone")
    with pytest.raises(VirtauditError, match="gone"):
        roll_back(qemu.monitor, MAC, 1)


def test_qemu_may_still_take_a_descriptor_without_having_answered() -> None:
    qemu = FakeQemu([tun(10)])
    qemu.fails = {
        "getfd": MonitorError("qemu did not answer getfd"),
        "device_del": MonitorError("nor this"),
    }
    with pytest.raises(StuckError, match="may still get devices of"):
        give(qemu, an_interface(), [tun(10)], None)
    assert qemu.held == {}


@pytest.mark.parametrize("answers", [True, False])
def test_no_task_waits_for_a_qemu_that_answers_again_or_is_gone(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    qemu = FakeQemu([tun(10)])
    qemu.fails["getfd"] = MonitorError("qemu did not answer getfd")
    if not answers:
        qemu.fails["device_del"] = MonitorError("nor this")
        monkeypatch.setattr(FakeQemu, "fate", lambda self: ": qemu has ended")
    with pytest.raises(MonitorError) as caught:
        give(qemu, an_interface(), [tun(10)], None)
    assert not isinstance(caught.value, StuckError)


MACS = [f"52:54:00:00:00:0{number}" for number in (1, 2, 3)]


def offers_of(count: int) -> tuple[list[Offer], list[Device]]:
    """Return NICs with a queue and a vhost-net each, and all their devices."""
    offers = []
    for number, mac in enumerate(MACS[:count]):
        name = f"vt{mac.replace(':', '')}"
        devices = [tun(10 + 2 * number, name), vhost(11 + 2 * number, name)]
        interface = an_interface(mac=mac, ifname=name)
        offers.append(Offer(interface, devices, f"port{number}"))
    return offers, [opened for offer in offers for opened in offer.devices]


def test_many_in_one_pass() -> None:
    offers, ours = offers_of(3)
    qemu, noted = FakeQemu(ours), []

    def note(given: Devices) -> None:
        noted.append((given, list(qemu.commands)))

    done = plug(qemu.monitor, qemu.process, offers, note)
    assert done.failure is None
    # All queues go without waiting, and each vhost-net by itself.
    assert qemu.commands == ["getfd"] * 6 + ["netdev_add"] * 3 + ["device_add"] * 3
    numbers = {mac: [each.fd for each in held] for mac, held in done.held.items()}
    assert numbers == {MACS[0]: [41, 44], MACS[1]: [42, 45], MACS[2]: [43, 46]}
    # Its numbers are noted before it makes anything of them.
    assert noted == [(done.held, ["getfd"] * 6)]
    assert qemu.names == {}


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_nics_before_a_refused_front_end_stay(refused: int) -> None:
    offers, ours = offers_of(3)
    qemu = FakeQemu(ours)
    qemu.fails["device_add", refused] = refusal("device_add")
    done = pass_of(qemu, *offers)
    assert isinstance(done.failure, QmpError)
    assert list(done.held) == MACS[:refused]
    assert len(qemu.nics) == len(qemu.netdevs) == refused
    assert len(qemu.held) == 2 * refused
    assert qemu.names == {}


@pytest.mark.parametrize("step", [("getfd", 1), ("getfd", 4), ("netdev_add", 1)])
def test_no_nic_is_made_if_one_cannot_be_prepared(step: tuple[str, int]) -> None:
    offers, ours = offers_of(3)
    qemu = FakeQemu(ours)
    qemu.fails[step] = refusal(step[0])
    done = pass_of(qemu, *offers)
    assert isinstance(done.failure, QmpError)
    assert done.held == {}
    assert "device_add" not in qemu.commands
    assert (qemu.held, qemu.names, qemu.netdevs) == ({}, {}, {})


def test_a_device_that_cannot_be_noted_is_not_used() -> None:
    offers, ours = offers_of(2)
    qemu = FakeQemu(ours)

    def note(_given: Devices) -> None:
        raise VirtauditError("No space left on device")

    done = plug(qemu.monitor, qemu.process, offers, note)
    assert "No space left" in str(done.failure)
    assert "netdev_add" not in qemu.commands
    assert (qemu.held, qemu.names) == ({}, {})


def test_a_qemu_that_hangs_in_the_middle_keeps_the_rest() -> None:
    offers, ours = offers_of(3)
    qemu = FakeQemu(ours)
    qemu.fails["device_add", 1] = MonitorError("qemu hangs")
    done = pass_of(qemu, *offers)
    assert isinstance(done.failure, StuckError)
    assert f"of {MACS[1]}, {MACS[2]}, whose hand-over" in str(done.failure)
    assert list(done.held) == MACS[:1]
