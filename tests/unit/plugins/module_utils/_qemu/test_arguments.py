# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.mode import Mode
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import OptionError
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.arguments import (
    TABLE,
    refusals,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.command import (
    monitors,
    parse_qemu,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import QEMU

# an option with a value that the module refuses, and what it would give the VM
MONITORS = [
    ("qmp", "unix:/run/x.sock,server=on,wait=off", "a second monitor (QMP)"),
    ("qmp-pretty", "tcp:127.0.0.1:4444,server=on", "a second monitor (QMP)"),
    ("monitor", "unix:/run/x.sock,server=on,wait=off", "a second monitor"),
    ("monitor", "stdio", "a second monitor"),
    ("monitor", "noneX", "a second monitor"),
    ("mon", "chardev=c,mode=control", "a second monitor"),
    ("mon", "c", "a second monitor"),
    ("serial", "mon:stdio", "a second monitor"),
    ("serial", "mon:unix:/run/x.sock", "a second monitor"),
    ("parallel", "mon:pty", "a second monitor"),
    ("debugcon", "mon:stdio", "a second monitor"),
    ("gdb", "tcp::1234", "gdb's stub"),
    ("gdb", "chardev:c", "gdb's stub"),
    ("qtest", "unix:/run/q.sock", "qtest"),
    ("qtest-log", "/tmp/q.log", "qtest"),
    ("object", "qtest,id=q,chardev=c", "qtest"),
    ("object", "id=q,qom-type=qtest", "qtest"),
    ("object", '{"qom-type":"qtest","id":"q"}', "qtest"),
    ("object", "x-remote-object,id=r,devid=d,fd=4", "another process"),
    ("object", "x-vfio-user-server,id=v", "another process"),
    ("plugin", "file=/usr/lib/qemu/plugin/libhotpages.so", "a plug-in"),
    ("semihosting-config", "enable=on,target=native", "semihosting"),
]
NETWORK, NODE, OPEN = "a network device", "the node of a network device", "has open"
DEVICES = [
    ("device", "virtio-net-pci", NETWORK),
    ("device", "virtio-net", NETWORK),
    ("device", "virtio-net-pci,netdev=n,mac=52:54:00:00:00:01", NETWORK),
    ("device", "driver=virtio-net-pci-non-transitional", NETWORK),
    ("device", "id=x,driver=e1000", NETWORK),
    ("device", "virtio-rng-pci,driver=e1000e", NETWORK),
    ("device", '{"driver":"virtio-net-pci"}', NETWORK),
    ("device", '{"id":"x", "driver":"igb"}', NETWORK),
    ("device", '{"driver":"\\u0065\\u0031000"}', NETWORK),
    ("device", "something-new,netdev=hostnet-525400000001", NETWORK),
    ("device", "vfio-pci,host=0000:01:00.0", NETWORK),
    ("device", "vfio-pci-nohotplug,sysfsdev=/sys/x", NETWORK),
    ("device", "vfio-user-pci,socket=/run/x", NETWORK),
    ("device", "x-pci-proxy-dev,id=p,fd=4", NETWORK),
    ("device", "vhost-vdpa-device-pci,vhostdev=/dev/vhost-vdpa-0", NETWORK),
    ("device", "vhost-vdpa-device-pci,vhostdev=/run/node", NETWORK),
    ("device", "vhost-user-device-pci,chardev=c,virtio-id=1", NETWORK),
    ("device", "usb-net", NETWORK),
    ("device", "usb-host,hostbus=1,hostaddr=2", NETWORK),
    ("device", "usb-redir,chardev=c", NETWORK),
    ("device", "vmxnet3", NETWORK),
    ("device", "pcnet", NETWORK),
    ("device", "rtl8139", NETWORK),
    ("device", "i82559er", NETWORK),
    ("device", "ne2k_pci", NETWORK),
    ("device", "pvrdma", NETWORK),
    ("device", "spapr-vlan", NETWORK),
    ("device", "virtio-net-ccw", NETWORK),
    ("device", "{'driver':'virtio-net-pci'}", "what cannot be read as JSON"),
    ("usbdevice", "host:1.2", "a USB device"),
    ("set", "chardev.virtaudit.path=/run/mine", "other values"),
    ("global", "virtio-net-pci.netdev=n", "another back end"),
    ("global", "driver=virtio-net-pci,property=netdev,value=n", "another back end"),
    ("object", "filter-mirror,id=f,netdev=n,outdev=c", "another way for the frames"),
    ("object", "filter-redirector,id=f,netdev=n,indev=c", "another way for the frames"),
    ("object", '{"id":"f","qom-type":"filter-rewriter"}', "another way for the frames"),
    ("object", "colo-compare,id=c", "another way for the frames"),
    ("object", "can-host-socketcan,id=c,if=can0", "another way for the frames"),
    ("incoming", "exec:cat /tmp/state", "a program writes"),
    (
        "incoming",
        '{"channel-type":"main","addr":{"transport":"exec","args":["/bin/sh"]}}',
        "a program writes",
    ),
    ("incoming", "fd:31", OPEN),
    (
        "incoming",
        '{"channel-type":"main","addr":{"transport":"socket","type":"fd","str":"31"}}',
        OPEN,
    ),
    ("chardev", "socket,id=c,fd=12,server=on", OPEN),
    ("chardev", "serial,id=c,path=/dev/tap178", NODE),
    ("chardev", "pipe,id=c,path=/dev//tap178", NODE),
    ("chardev", "file,id=c,path=/dev/null,input-path=/dev/./net/tun", NODE),
    ("serial", "/dev/tap178", NODE),
    ("parallel", "/dev/tap178", NODE),
    ("serial", "/proc/self/fd/31", OPEN),
    ("drive", "file=/dev/tap178,format=raw", NODE),
    ("drive", "file=/dev/fd/31,format=raw", OPEN),
    ("blockdev", "driver=host_device,node-name=n,filename=/dev/tap178", NODE),
    (
        "blockdev",
        '{"driver":"host_device","node-name":"n","filename":"/dev/tap178"}',
        NODE,
    ),
    (
        "blockdev",
        "driver=virtio-blk-vhost-vdpa,node-name=n,path=/dev/vhost-vdpa-0",
        NODE,
    ),
    (
        "blockdev",
        r'{"driver":"host_device","node-name":"n","filename":"/\u0064ev\/tap178"}',
        NODE,
    ),
    ("drive", r'file=json:{"driver":"host_device",,"filename":"\/dev\/tap178"}', NODE),
    ("drive", "file=/dev/net/../shm/../net/tun", NODE),
    ("drive", "file=/dev/char/10:200", NODE),
    ("drive", "file=dev/tap178", NODE),
    ("hda", "dev/net/tun", NODE),
    ("object", "memory-backend-file,id=m,size=1M,mem-path=/dev/vhost-net", NODE),
    ("hda", "/dev/tap178", NODE),
    ("fsdev", "proxy,id=f,sock_fd=4", OPEN),
]
HARMLESS = [
    ["-monitor", "none"],
    ["-gdb", "none"],
    ["-serial", "none"],
    ["-serial", "file:/run/serial"],
    ["-serial", "unix:/run/console.sock,server=on,wait=off"],
    ["-serial", "/dev/ttyS0"],
    ["-chardev", "socket,id=ga,path=/run/ga.sock,server=on,wait=off"],
    ["-device", "virtserialport,chardev=ga,name=org.qemu.guest_agent.0"],
    ["-device", '{"driver":"virtio-serial-pci","id":"s"}'],
    ["-device", "virtio-rng-pci"],
    ["-device", "virtio-blk-pci,drive=d,serial=e1000"],
    ["-device", "vhost-vsock-pci,guest-cid=3"],
    ["-device", "vhost-user-blk-pci,chardev=c"],
    ["-device", "usb-tablet"],
    ["-device", "pcie-root-port,id=extra,chassis=99"],
    ["-drive", "file=/var/lib/vms/tap178.qcow2,if=virtio"],
    ["-drive", "file=/srv/dev/tap.img,,mon:x"],
    ["-drive", "file=/srv/../var/lib/vms/web01.qcow2"],
    ["-drive", "file=/dev/vg0/web01,format=raw"],
    ["-blockdev", '{"driver":"qcow2","node-name":"n"}'],
    ["-object", "rng-random,id=r,filename=/dev/urandom"],
    ["-object", '{"qom-type":"memory-backend-ram","id":"m","size":1048576}'],
    ["-object", "filter-dump,id=f,netdev=n,file=/tmp/x"],
    ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"],
    ["-global", "virtio-net-pci.romfile="],
    ["-incoming", "file:/var/lib/vms/state"],
    ["-incoming", "defer"],
    ["-append", "console=ttyS0 quiet netdev=x monitor"],
    ["-kernel", "/boot/vmlinuz", "-initrd", "/boot/initrd"],
    ["-vnc", "127.0.0.1:1"],
    ["-smbios", "type=1,serial=x"],
    ["-smbios", "type=1,serial=a,,uuid=x"],
    ["-smbios", "type=2,serial=x", "-smbios", "type=11,value=uuid"],
    ["-smbios", "file=/var/lib/vms/smbios.bin"],
    ["-nographic", "-snapshot", "-no-reboot"],
]


def spellings(option: str, value: str) -> list[list[str]]:
    return [
        [f"-{option}", value],
        [f"--{option}", value],
        [f"-{option}={value}"],
        [f"--{option}={value}"],
        ["-snapshot", f"-{option}", value, "-no-reboot"],
    ]


@pytest.mark.parametrize("mode", ["required", "best_effort", "off"])
@pytest.mark.parametrize(("option", "value", "gives"), DEVICES)
def test_a_device_is_never_allowed(
    option: str, value: str, gives: str, mode: Mode
) -> None:
    for arguments in spellings(option, value):
        with pytest.raises(OptionError, match=r"^qemu\.args: ") as caught:
            parse_qemu({**QEMU, "args": arguments}, [], mode)
        assert gives in str(caught.value)
        assert "which would not be on record" in str(caught.value)


@pytest.mark.parametrize(("option", "value", "gives"), MONITORS)
def test_a_monitor_is_refused_if_proof_is_required(
    option: str, value: str, gives: str
) -> None:
    for arguments in spellings(option, value):
        with pytest.raises(OptionError, match=r"^qemu\.args: ") as caught:
            parse_qemu({**QEMU, "args": arguments}, [], "required")
        assert value in str(caught.value)
        assert gives in str(caught.value)
        assert "audit: best_effort" in str(caught.value)


@pytest.mark.parametrize("mode", ["best_effort", "off"])
@pytest.mark.parametrize(("option", "value", "gives"), MONITORS)
def test_a_monitor_gives_a_warning_if_proof_is_not_required(
    option: str, value: str, gives: str, mode: Mode
) -> None:
    for arguments in spellings(option, value):
        (warning,) = monitors(parse_qemu({**QEMU, "args": arguments}, [], mode))
        assert value in warning
        assert gives in warning


@pytest.mark.parametrize("option", ["-s", "--s", "-semihosting"])
def test_an_option_without_a_value(option: str) -> None:
    (warning,) = monitors(
        parse_qemu({**QEMU, "args": [option, "-snapshot"]}, [], "off")
    )
    assert warning.startswith(f"qemu.args: {option} gives the VM ")


def test_a_disk_may_stand_without_an_option() -> None:
    with pytest.raises(OptionError, match="/dev/tap178 gives the VM the node of a"):
        parse_qemu({**QEMU, "args": ["-snapshot", "/dev/tap178"]}, [])


@pytest.mark.parametrize("arguments", HARMLESS)
def test_an_argument_that_gives_no_device_and_no_monitor(arguments: list[str]) -> None:
    qemu = parse_qemu({**QEMU, "args": arguments}, [], "required")
    assert monitors(qemu) == []


def test_every_option_of_the_table_is_tested() -> None:
    tried = {option for option, _value, _gives in [*MONITORS, *DEVICES]}
    tried |= {"s", "semihosting"}
    rows = [row for row in TABLE if row.kind != "own"]
    assert {option for row in rows for option in row.options.split()} - tried == {
        "virtfs"
    }


UUID = "c1e2f3a4-0001-4000-8000-000000000011"


@pytest.mark.parametrize("mode", ["required", "off"])
@pytest.mark.parametrize(
    "value",
    [
        f"type=1,uuid={UUID}",
        f"uuid={UUID},type=1",
        f"type=01,uuid={UUID}",
        f"type=0x1,uuid={UUID.upper()}",
        f"type=1,serial=a,,b,uuid={UUID}",
        f"type=1,serial=x,,,uuid={UUID}",
        f"type=2,type=1,uuid={UUID}",
        "type=1,uuid=",
    ],
)
def test_another_uuid_is_refused(value: str, mode: Mode) -> None:
    for arguments in spellings("smbios", value):
        said = r"^qemu\.args: the module itself sets -.*smbios.*; use the option uuid$"
        with pytest.raises(OptionError, match=said) as caught:
            parse_qemu({**QEMU, "args": arguments}, [], mode)
        # The rest of the option is allowed.
        assert value in str(caught.value)


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.kind == "own" and row.options != "smbios"]
)
def test_an_option_that_the_module_sets_is_refused_in_each_mode(
    row: tuple[str, ...],
) -> None:
    for option in row[0].split():
        for argument in (f"-{option}", f"--{option}", f"-{option}=x"):
            for mode in ("required", "off"):
                with pytest.raises(OptionError, match="the module itself sets"):
                    parse_qemu({**QEMU, "args": [argument]}, [], mode)


def test_json_may_be_deep() -> None:
    deep = json.dumps({"driver": "x", "of": [{"a": {"b": ["c", 1, None, True]}}]})
    assert list(refusals(["-device", deep])) == []
    assert len(list(refusals(["-device", "{" * 100000]))) == 1
