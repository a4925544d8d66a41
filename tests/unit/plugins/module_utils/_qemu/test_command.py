# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu import command, ids
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.command import (
    Backend,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    UUID,
    an_interface,
    qemu_options,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.strategies import (
    outside_text,
)

BINARY = "/usr/bin/qemu-system-x86_64"
QEMU = qemu_options(vcpus=2, hotplug_ports=1)
ONE = an_interface()
FOUR = an_interface(
    mac="52:54:00:00:00:02", queues=4, vhost="off", mtu=9000, ifname="tap4"
)
TWO_VHOST = an_interface(mac="52:54:00:00:00:03", queues=2)


def build(
    *backends: Backend, version: tuple[int, int] = (7, 2), **changes: t.Any
) -> list[str]:
    qemu = QEMU._replace(**changes)
    return command.argv(BINARY, "web01", UUID, qemu, version, 9, backends)


def values(arguments: list[str], option: str) -> list[str]:
    return [value for word, value in zip(arguments, arguments[1:]) if word == option]


def parsed(arguments: list[str], option: str) -> list[dict[str, t.Any]]:
    return [json.loads(value) for value in values(arguments, option)]


def test_whole_command_line() -> None:
    backends = [Backend(ONE, (31,), (33,)), Backend(FOUR, (34, 35, 36, 37), ())]
    arguments = build(
        *backends, cpu="host", args=("-drive", "file=/x,format=raw"), paused=True
    )
    assert arguments == [
        "/usr/bin/qemu-system-x86_64",
        "-name",
        "guest=web01,debug-threads=on",
        "-uuid",
        UUID,
        "-machine",
        "q35",
        "-accel",
        "kvm",
        "-m",
        "1024",
        "-smp",
        "2",
        "-cpu",
        "host",
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-S",
        "-chardev",
        "socket,id=virtaudit,fd=9,server=on,wait=off",
        "-mon",
        "chardev=virtaudit,mode=control",
        "-device",
        '{"driver":"pcie-root-port","id":"virtaudit-port0","bus":"pcie.0","chassis":1,'
        '"addr":"10.0","multifunction":true}',
        "-device",
        '{"driver":"pcie-root-port","id":"virtaudit-port1","bus":"pcie.0","chassis":2,'
        '"addr":"10.1"}',
        "-device",
        '{"driver":"pcie-root-port","id":"virtaudit-port2","bus":"pcie.0","chassis":3,'
        '"addr":"10.2"}',
        "-netdev",
        '{"type":"tap","id":"hostnet-525400000001","fd":"31","vhost":true,'
        '"vhostforce":true,"vhostfd":"33"}',
        "-device",
        '{"driver":"virtio-net-pci","id":"net-525400000001","netdev":"hostnet-525400000001",'
        '"mac":"52:54:00:00:00:01","bus":"virtaudit-port0","addr":"0x0"}',
        "-netdev",
        '{"type":"tap","id":"hostnet-525400000002","fds":"34:35:36:37","vhost":false}',
        "-device",
        '{"driver":"virtio-net-pci","id":"net-525400000002","netdev":"hostnet-525400000002",'
        '"mac":"52:54:00:00:00:02","bus":"virtaudit-port1","addr":"0x0","mq":true,'
        '"vectors":10,"host_mtu":9000}',
        "-drive",
        "file=/x,format=raw",
    ]


@pytest.mark.parametrize("paused", [False, True])
def test_the_guest_waits_for_its_records(paused: bool) -> None:
    assert build(paused=paused).count("-S") == 1


# back end, its form in JSON, its form as key=value for an older qemu
NETDEVS = [
    (
        Backend(ONE, (31,), ()),
        {"fd": "31", "vhost": False},
        "tap,id=hostnet-525400000001,fd=31,vhost=off",
    ),
    (
        Backend(ONE, (31,), (32,)),
        {"fd": "31", "vhost": True, "vhostforce": True, "vhostfd": "32"},
        "tap,id=hostnet-525400000001,fd=31,vhost=on,vhostforce=on,vhostfd=32",
    ),
    (
        Backend(TWO_VHOST, (31, 33), (35, 37)),
        {"fds": "31:33", "vhost": True, "vhostforce": True, "vhostfds": "35:37"},
        "tap,id=hostnet-525400000003,fds=31:33,vhost=on,vhostforce=on,vhostfds=35:37",
    ),
]


@pytest.mark.parametrize(("backend", "members", "text"), NETDEVS)
@pytest.mark.parametrize(
    ("version", "json_taken"),
    [((6, 2), False), ((7, 1), False), ((7, 2), True), ((8, 0), True), ((10, 0), True)],
)
def test_netdev(
    backend: Backend,
    members: dict[str, t.Any],
    text: str,
    version: tuple[int, int],
    json_taken: bool,
) -> None:
    arguments = build(backend, version=version)
    if json_taken:
        netdev_id = ids.netdev_id(backend.interface.mac)
        assert parsed(arguments, "-netdev") == [
            {"type": "tap", "id": netdev_id, **members}
        ]
    else:
        assert values(arguments, "-netdev") == [text]


@given(st.integers(1, 256), st.booleans())
def test_vhost_is_explicit_and_qemu_never_opens_it(
    queues: int, with_vhost: bool
) -> None:
    names = [str(number) for number in range(queues)]
    netdev = command.netdev(ONE, names, names if with_vhost else [])
    assert netdev["vhost"] is with_vhost
    assert netdev.get("vhostforce", False) is with_vhost
    assert ("vhostfd" in netdev or "vhostfds" in netdev) is with_vhost
    assert ("fd" in netdev) is (queues == 1)
    assert ("fds" in netdev) is (queues > 1)
    if with_vhost:
        assert netdev["vhostfd" if queues == 1 else "vhostfds"] == ":".join(names)


@given(st.integers(1, 256))
def test_vectors(queues: int) -> None:
    nic = command.nic(an_interface(queues=queues), "p")
    if queues == 1:
        assert not {"mq", "vectors"} & set(nic)
    else:
        assert (nic["mq"], nic["vectors"]) == (True, 2 * queues + 2)


@pytest.mark.parametrize(
    ("changes", "port", "extra"),
    [
        ({}, "p7", {"bus": "p7", "addr": "0x0"}),
        ({}, None, {}),
        ({"mtu": 1400}, None, {"host_mtu": 1400}),
        ({"model": "e1000", "mtu": 1400}, "p7", {"bus": "p7", "addr": "0x0"}),
        ({"model": "usb-net"}, "p7", {}),
    ],
)
def test_nic(
    changes: dict[str, t.Any], port: str | None, extra: dict[str, t.Any]
) -> None:
    interface = an_interface(**changes)
    assert command.nic(interface, port) == {
        "driver": interface.model,
        "id": "net-525400000001",
        "netdev": "hostnet-525400000001",
        "mac": "52:54:00:00:00:01",
        **extra,
    }


@given(outside_text)
def test_a_name_stays_one_name(name: str) -> None:
    arguments = command.argv(BINARY, name, UUID, QEMU, (7, 2), 9, [])
    assert arguments[1] == "-name"
    # qemu reads it like this: a comma ends a value, and two commas stand for one
    text, end, rest = arguments[2].rpartition(",debug-threads=on")
    assert (end, rest) == (",debug-threads=on", "")
    assert text.startswith("guest=")
    assert text.replace(",,", "").count(",") == 0
    assert text[len("guest=") :].replace(",,", ",") == name
