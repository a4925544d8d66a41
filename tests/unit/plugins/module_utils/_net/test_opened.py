# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every open has one open record, and one close record unless it is handed over."""

from __future__ import annotations

import os
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.echo import (
    Confirmation,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.sent import Sent
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import (
    TUN_PATH,
    VHOST_NET_PATH,
    Device,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    DeviceError,
    LinkError,
    StuckError,
    VirtauditError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import (
    device,
    holdings,
    link,
    sysfs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.backends import (
    backend_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.interface import (
    Interface,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.opened import (
    OpenedDevices,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import an_interface

TUN = TUN_PATH
VHOST = VHOST_NET_PATH
DIRECT: dict[str, t.Any] = {"type": "direct", "source": "eth0", "mode": "vepa"}

ERRORS = {"link": LinkError, "become": DeviceError, "record": AuditError}


class Host:
    """Nodes that open /dev/null, links that exist only in a list, and the auditor.

    ``fails`` maps a step (a path, ``become``, ``link``, ``record``) to the number of its calls that succeed
    before it fails.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: dict[str, int] = {}
        self.calls: list[str] = []
        self.fds: list[int] = []
        self.records: list[tuple[str, str, str]] = []
        self.links: list[str] = []
        self.sent: list[Sent] = []
        self.noted: list[list[int]] = []
        self.missed = False
        monkeypatch.setattr(device, "open_node", self.open_node)
        monkeypatch.setattr(device, "become_tap", self.become_tap)
        monkeypatch.setattr(device, "become_macvtap", self.become_macvtap)
        monkeypatch.setattr(device, "rdev_of", lambda path: "F6:01")
        monkeypatch.setattr(sysfs, "macvtap_rdev", lambda name: "246:1")
        monkeypatch.setattr(link, "join_bridge", lambda *args: self.step("link"))
        monkeypatch.setattr(link, "bring_up", lambda *args: self.step("link"))
        monkeypatch.setattr(link, "receive_all_multicast", lambda *args: None)
        monkeypatch.setattr(link, "add_macvtap", self.add_macvtap)
        monkeypatch.setattr(link, "remove", self.links.remove)

    def step(self, name: str) -> None:
        self.calls.append(name)
        if self.fails.get(name, 1000) < self.calls.count(name):
            if name in ERRORS:
                raise ERRORS[name]("no")
            raise OSError(2, "No such file or directory")

    def open_node(self, path: str) -> Device:
        self.step(path)
        fd = os.open("/dev/null", os.O_RDWR)
        self.fds.append(fd)
        return Device(path, "0A:C8", None, fd)

    def become_tap(self, opened: Device, ifname: str, queues: int, first: bool) -> None:
        self.step("become")
        assert first is (self.calls.count("become") == 1)
        opened.dev = ifname

    def become_macvtap(self, opened: Device, ifname: str, queues: int) -> None:
        self.step("become")
        opened.dev = ifname

    def add_macvtap(self, name: str, *_rest: str) -> int:
        self.links.append(name)
        return 12

    def send(self, record: Record) -> Sent:
        fields = record.fields
        self.records.append(
            (str(fields["reason"]), str(fields["path"]), str(fields["res"]))
        )
        sent = Sent(record, good=True)
        sent.confirmation = Confirmation(f"1.000:{len(self.records)}", 0, 1)
        try:
            self.step("record")
        except AuditError as exc:
            sent.confirmation, sent.problem, sent.good = None, exc, False
        self.sent.append(sent)
        return sent

    def confirm(self) -> None:
        for each in self.sent:
            if each.problem is not None:
                raise each.problem

    def write_anyway(self, record: Record) -> None:
        self.records.append(
            (str(record.fields["reason"]), str(record.fields["path"]), "")
        )

    def use(self, *interfaces: Interface, hand_over: bool) -> list[Device]:
        messages = Messages(Vm("web01", "u", "kvm"), Origin("/x", None, None))
        with OpenedDevices(
            t.cast(Auditor, self),
            messages,
            lambda found: self.noted.append([*map(len, found.values())]),
        ) as opened:
            devices = opened.open(interfaces)
            assert all(is_open(fd) for fd in self.fds)
            if hand_over:
                opened.handed_over(devices)
        return [each for found in devices.values() for each in found]


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.fixture(name="host")
def fixture_host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


# the interface of the task, the paths in order
OPENED: list[tuple[dict[str, t.Any], list[str]]] = [
    ({}, [TUN, VHOST]),
    ({"vhost": "off"}, [TUN]),
    ({"model": "e1000"}, [TUN]),
    ({"queues": 2}, [TUN, TUN, VHOST, VHOST]),
    (DIRECT, ["/dev/tap12", VHOST]),
    ({**DIRECT, "queues": 2, "vhost": "off"}, ["/dev/tap12", "/dev/tap12"]),
]


@pytest.mark.parametrize(("asked", "paths"), OPENED)
@pytest.mark.parametrize("hand_over", [True, False])
def test_open(
    host: Host, asked: dict[str, t.Any], paths: list[str], hand_over: bool
) -> None:
    interface = an_interface(**asked)
    devices = host.use(interface, hand_over=hand_over)
    assert [opened.path for opened in devices] == paths
    assert [opened.event for opened in devices] == [
        f"1.000:{number}" for number in range(1, len(paths) + 1)
    ]
    assert {opened.dev for opened in devices} == {interface.ifname}
    opens = [("open", path, "success") for path in paths]
    closes = [] if hand_over else [("close", path, "") for path in paths]
    assert host.records == opens + closes
    assert host.noted == [[len(paths)]]
    assert not any(is_open(fd) for fd in host.fds)
    kept = [interface.ifname] if hand_over and asked.get("type") == "direct" else []
    assert host.links == kept


# the interface of the task, what fails after how many good calls, the opens on record as success and
# failed
FAILURES: list[tuple[dict[str, t.Any], str, int, int, int]] = [
    ({}, TUN, 0, 0, 1),
    ({"queues": 3}, TUN, 2, 2, 1),
    ({}, "become", 0, 1, 0),
    ({"queues": 2}, "become", 1, 2, 0),
    # A link joins its network when everything is open.
    ({}, "link", 0, 2, 0),
    ({"vhost": "required"}, VHOST, 0, 1, 1),
    ({"queues": 2}, VHOST, 1, 3, 1),
    ({}, "record", 0, 2, 0),
    ({}, "record", 1, 2, 0),
    (DIRECT, "link", 0, 2, 0),
    (DIRECT, "/dev/tap12", 0, 0, 1),
    (DIRECT, "become", 0, 1, 0),
    (DIRECT, "record", 0, 2, 0),
    ({**DIRECT, "queues": 2}, "/dev/tap12", 1, 1, 1),
]


@pytest.mark.parametrize(("asked", "step", "good", "opens", "failed"), FAILURES)
def test_failure(
    host: Host, asked: dict[str, t.Any], step: str, good: int, opens: int, failed: int
) -> None:
    host.fails = {step: good}
    with pytest.raises(VirtauditError):
        host.use(an_interface(**asked), hand_over=True)
    kinds = [(reason, res) for reason, _path, res in host.records]
    assert kinds.count(("open", "success")) == len(host.fds) == opens
    assert kinds.count(("open", "failed")) == failed
    # The next task finds out whether an unconfirmed record was kept, and writes its close.
    closes = good if step == "record" else opens
    assert kinds.count(("close", "")) == closes
    assert len(kinds) == opens + closes + failed
    assert not any(is_open(fd) for fd in host.fds)
    assert host.links == []


def test_vhost_auto_goes_on_without(host: Host) -> None:
    host.fails = {VHOST: 0}
    devices = host.use(an_interface(queues=2), hand_over=True)
    assert [opened.path for opened in devices] == [TUN, TUN]
    assert host.records[-1] == ("open", VHOST, "failed")
    assert host.calls.count(VHOST) == 1


@pytest.mark.parametrize(
    ("expected", "found"),
    [(None, "F6:01"), ("246:1", None), ("246:2", "F6:01"), ("245:1", "F6:01")],
)
def test_a_node_of_another_macvtap(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    expected: str | None,
    found: str | None,
) -> None:
    monkeypatch.setattr(sysfs, "macvtap_rdev", lambda name: expected)
    monkeypatch.setattr(device, "rdev_of", lambda path: found)
    with pytest.raises(DeviceError, match="macvtap vt525400000001"):
        host.use(an_interface(**DIRECT), hand_over=True)
    assert (host.records, host.links) == ([], [])


@pytest.mark.parametrize("asked", [{}, DIRECT])
def test_a_device_that_another_process_holds_is_not_recorded_as_closed(
    host: Host, monkeypatch: pytest.MonkeyPatch, asked: dict[str, t.Any]
) -> None:
    interface = an_interface(**asked)
    held = holdings.Holding(interface.ifname)
    monkeypatch.setattr(holdings, "wait_free", lambda *link: held)
    host.fails = {VHOST: 0}
    with pytest.raises(StuckError) as caught:
        host.use(interface._replace(vhost="required"), hand_over=True)
    assert "/dev/vhost-net could not be opened" in str(caught.value)
    assert f"{interface.mac}: the tap {interface.ifname} still exists" in str(
        caught.value
    )
    assert "close" not in [reason for reason, _path, _res in host.records]
    assert not any(is_open(fd) for fd in host.fds)
    # The next task looks at it again.
    assert host.missed
    assert host.links == ([interface.ifname] if asked else [])


@pytest.mark.parametrize("asked", [{"queues": 2}, {**DIRECT, "queues": 2}])
def test_a_link_that_another_process_has_joined_is_not_recorded_as_closed(
    host: Host, monkeypatch: pytest.MonkeyPatch, asked: dict[str, t.Any]
) -> None:
    interface = an_interface(**asked)
    waited: list[tuple[t.Any, ...]] = []

    def wait(*given: t.Any) -> holdings.Holding:
        waited.append(given[:2])
        return holdings.Holding(interface.ifname)

    monkeypatch.setattr(holdings, "wait_free", wait)
    monkeypatch.setattr(device, "serves", lambda _opened, name: True)
    monkeypatch.setattr(sysfs, "ifindex", lambda name: 7)
    # The first queue has its link, and then a check fails.
    host.fails = {"become": 0}
    with pytest.raises(StuckError, match=r"no\. The task could not close everything"):
        host.use(interface, hand_over=True)
    assert waited == [(interface.ifname, 7)]
    assert [reason for reason, _path, _res in host.records] == ["open"]
    assert not any(is_open(fd) for fd in host.fds)
    assert host.missed


SECOND = an_interface(mac="52:54:00:00:00:02", ifname="vt525400000002", vhost="off")


@pytest.mark.parametrize("step", [TUN, "link"])
def test_one_failed_interface_keeps_all_interfaces_from_the_vm(
    host: Host, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(device, "become_tap", lambda *args, **kwargs: None)
    host.fails = {step: 1}
    with pytest.raises(VirtauditError):
        host.use(an_interface(vhost="off"), SECOND, hand_over=True)
    kinds = [(reason, res) for reason, _path, res in host.records]
    assert kinds.count(("close", "")) == len(host.fds) == (1 if step == TUN else 2)
    assert not any(is_open(fd) for fd in host.fds)


def test_one_of_two_interfaces_is_handed_over(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "become_tap", lambda *args, **kwargs: None)
    messages = Messages(Vm("web01", "u", "kvm"), Origin("/x", None, None))
    first = an_interface(**DIRECT, vhost="off")
    monkeypatch.setattr(link, "add_macvtap", lambda name, *_rest: 12)
    removed: list[str] = []
    monkeypatch.setattr(link, "remove", removed.append)
    second = an_interface(**{**DIRECT, "mac": SECOND.mac, "ifname": SECOND.ifname})
    noted: list[t.Mapping[str, list[Device]]] = []
    with OpenedDevices(t.cast(Auditor, host), messages, noted.append) as opened:
        opened.open([first, second._replace(vhost="off")])
        opened.handed_over([first.mac])
        assert [is_open(fd) for fd in host.fds] == [False, True]
    assert removed == [SECOND.ifname]
    assert [reason for reason, _path, _res in host.records] == ["open", "open", "close"]
    assert list(noted[0]) == [first.mac, SECOND.mac]


def test_the_records_of_a_kind_name_the_nic_that_could_not_be_prepared(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "become_tap", lambda *args, **kwargs: None)
    backend = backend_of("bridge")
    up: list[str] = []
    monkeypatch.setattr(link, "bring_up", up.append)
    monkeypatch.setattr(
        type(backend), "_put_filters", lambda *args: {SECOND.mac: LinkError("no")}
    )
    monkeypatch.setattr(type(backend), "_set_port", lambda *args: None)
    monkeypatch.setattr(type(backend), "remove", lambda *args: None)
    records: list[tuple[str, str, str]] = []

    def keep(record: Record) -> Sent:
        told = record.fields
        records.append((str(told["reason"]), str(told["net"]), str(told["res"])))
        return Sent(record, good=True)

    monkeypatch.setattr(host, "send", keep)
    monkeypatch.setattr(host, "write_anyway", keep)
    last = SECOND._replace(mac="52:54:00:00:00:03", ifname="vt525400000003")
    nics = [an_interface(vhost="off"), SECOND, last]
    with pytest.raises(LinkError, match="no"):
        host.use(*(each._replace(filter="mac") for each in nics), hand_over=True)
    assert up == [nics[0].ifname]
    assert [each for each in records if each[0] == "prepare"] == [
        ("prepare", nics[0].mac, "success"),
        ("prepare", SECOND.mac, "failed"),
    ]
    assert len([each for each in records if each[0] == "close"]) == 3
