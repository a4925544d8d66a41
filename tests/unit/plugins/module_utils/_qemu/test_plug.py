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
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.hotplug import (
    plug,
    roll_back,
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


def refusal(command: str) -> QmpError:
    return QmpError(command, "GenericError", "no")


def test_order_of_commands() -> None:
    qemu = FakeQemu(FOUR_FDS)
    held = plug(qemu.monitor, qemu.process, TWO, FOUR_FDS, "port3")
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
    (held,) = plug(qemu.monitor, qemu.process, an_interface(), [opened], None)
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
        plug(qemu.monitor, qemu.process, TWO, FOUR_FDS, "port3")
    assert caught.value is failure
    assert qemu.commands[before : before + 2] == ["device_del", "netdev_del"]
    assert set(qemu.commands[before + 2 :]) == {"closefd"}
    assert (qemu.held, qemu.names, qemu.netdevs, qemu.nics) == ({}, {}, {}, {})


def test_a_nic_that_may_be_there_is_left_to_the_next_task() -> None:
    # A paused guest would keep the NIC without a host side.
    qemu = FakeQemu(FOUR_FDS)
    qemu.fails["device_add"] = MonitorError("qemu hangs")
    with pytest.raises(StuckError, match="finished or taken back"):
        plug(qemu.monitor, qemu.process, TWO, FOUR_FDS, "port3")
    assert qemu.commands[-1] == "device_add"
    assert len(qemu.held) == 4


def test_the_first_error_stands_when_the_rollback_fails_too() -> None:
    qemu = FakeQemu(FOUR_FDS)
    qemu.fails = {
        "netdev_add": refusal("netdev_add"),
        "device_del": MonitorError("qemu is gone"),
    }
    with pytest.raises(StuckError, match=r"netdev_add: no.*still holds") as caught:
        plug(qemu.monitor, qemu.process, TWO, FOUR_FDS, "port3")
    assert isinstance(caught.value.__cause__, QmpError)
    assert len(qemu.held) == 4


def test_a_fd_that_does_not_arrive() -> None:
    qemu = FakeQemu([tun(10)])
    qemu.silent_getfd = True
    with pytest.raises(
        ProcessError, match=r"/dev/net/tun was passed to qemu \(pid 4711"
    ):
        plug(qemu.monitor, qemu.process, an_interface(), [tun(10)], None)
    assert "netdev_add" not in qemu.commands
    assert qemu.names == {}


def test_a_fd_that_goes_to_another_file() -> None:
    qemu = FakeQemu([tun(10)])
    qemu.ours[10] = vhost(10)
    with pytest.raises(ProcessError, match="is not among its open files"):
        plug(qemu.monitor, qemu.process, an_interface(), [tun(10)], None)
    assert qemu.held == {}


def test_other_files_that_qemu_opens_meanwhile_are_not_taken_for_ours() -> None:
    qemu = FakeQemu([tun(10)])

    def busy(given: t.Mapping[str, t.Any]) -> None:
        qemu.held.update({5: vhost(5), 6: macvtap(6)})
        qemu._getfd(10, **given)

    qemu.answers["getfd"] = busy
    (held,) = plug(qemu.monitor, qemu.process, an_interface(), [tun(10)], None)
    assert held.fd == 41


def test_a_fd_that_is_lost_at_the_end() -> None:
    qemu = FakeQemu(FOUR_FDS)
    qemu.answers["device_add"] = lambda given: qemu.held.pop(43)
    with pytest.raises(ProcessError, match="does not hold /dev/vhost-net as fd 43"):
        plug(qemu.monitor, qemu.process, TWO, FOUR_FDS, "port3")
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


def test_a_descriptor_that_was_sent_and_not_answered_may_still_be_taken() -> None:
    qemu = FakeQemu([tun(10)])
    qemu.fails = {
        "getfd": MonitorError("qemu did not answer getfd"),
        "device_del": MonitorError("nor this"),
    }
    with pytest.raises(StuckError, match="may still get what was sent to it"):
        plug(qemu.monitor, qemu.process, an_interface(), [tun(10)], None)
    assert qemu.held == {}


@pytest.mark.parametrize("answers", [True, False])
def test_nothing_waits_for_a_qemu_that_answers_again_or_is_gone(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    qemu = FakeQemu([tun(10)])
    qemu.fails["getfd"] = MonitorError("qemu did not answer getfd")
    if not answers:
        qemu.fails["device_del"] = MonitorError("nor this")
        monkeypatch.setattr(FakeQemu, "fate", lambda self: ": qemu has ended")
    with pytest.raises(MonitorError) as caught:
        plug(qemu.monitor, qemu.process, an_interface(), [tun(10)], None)
    assert not isinstance(caught.value, StuckError)
