# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of qemu's arguments that a VM must not have, and the way in which qemu reads an argument. Pure.

A VM that this collection starts has only network devices that the collection opened, and only the collection's
own monitor, because somebody could add a device through another one. Sources: ``qemu-system-x86_64(1)``,
``qemu-options.hx``, ``system/vl.c``, ``util/keyval.c``, of 6.2 to 10.
"""

from __future__ import annotations

import json
import re
import typing as t

# own: this module sets the option. monitor: it opens a way into qemu. device: it gives the VM a
# network device.
Kind = t.Literal["own", "monitor", "device"]
# An option's value as a list of keys and values.
Pairs = list[tuple[str, str]]


class Value(t.NamedTuple):
    """The value of an option. ``pairs`` is ``None`` if the text should be JSON and is not."""

    text: str
    pairs: Pairs | None

    def has(self, keys: t.Collection[str]) -> bool:
        """Tell whether the value has one of these keys."""
        return any(key in keys for key, _value in self.pairs or ())

    def matches(self, key: str, pattern: re.Pattern[str]) -> bool:
        """Tell whether the value has this key with a value that matches."""
        return any(
            key == own and pattern.fullmatch(value) for own, value in self.pairs or ()
        )


def _always(_value: Value) -> bool:
    return True


class Row(t.NamedTuple):
    """Options that the module refuses, always or for some values. ``gives`` is what they give the VM.

    For options that this module sets, it is the option to use instead.
    """

    options: str
    kind: Kind
    gives: str
    when: t.Callable[[Value], bool] = _always


# The network devices of "qemu -device help", on all architectures.
_NICS = (
    r"virtio-net(?:-.*)?|e1000.*|igb(?:vf)?|i825.*|i82801|ne2k_.*|pcnet.*|rtl8139|tulip|rocker|vmxnet\d*|pvrdma|usb-net"
    r"|spapr-vlan|xen-net.*|sungem|sunhme|eTSEC|.*(?:emac|gmac|ethernet).*"
)
# These pass through a device of the host, or a device that another process emulates. It may be a
# network device.
_PASSED = r"vfio-.*|vhost-vdpa-.*|vhost-user-(?:net|device|test-device).*|x-pci-proxy-dev|usb-host|usb-redir"
_DRIVERS = re.compile(f"{_NICS}|{_PASSED}", re.ASCII)
_BACK_ENDS = ("netdev", "vhostfd", "vhostfds", "vhostdev")
_FRAMES = re.compile(
    r"filter-(?:mirror|redirector|rewriter)|colo-compare|can-host-.*", re.ASCII
)
_SERVERS = re.compile(r"x-remote-object|x-vfio-user-server", re.ASCII)
_QTEST = re.compile(r"qtest")
_FD = re.compile(r"fd")
_EXEC = re.compile(r"exec")
# Nearly every option of qemu accepts paths.
_NODE = re.compile(
    r"(?:/|^|[=,:\"'])dev/(?:net/tun|tap\d+|vhost-(?!vsock)[\w-]+|vfio\b|macvtap|ipvtap|char/)",
    re.ASCII,
)
_OPEN_FILE = re.compile(r"/dev/(?:fd/|std(?:in|out|err)\b)|/proc/.*/fd/", re.ASCII)


def _sets_uuid(value: Value) -> bool:
    # The code does not check the type. Only the table of type 1 has a UUID, and qemu reads the type in several forms
    # (1, 01, 0x1).
    return value.has(("uuid",))


def _is_there(value: Value) -> bool:
    return value.text != "none"


def _has_monitor(value: Value) -> bool:
    return value.text.startswith("mon:")


def _is_open_file(value: Value) -> bool:
    return (
        value.text.startswith("fd:")
        or value.has(("fd", "fds", "sock_fd"))
        or value.matches("type", _FD)
    )


def _is_program(value: Value) -> bool:
    return value.text.startswith("exec:") or value.matches("transport", _EXEC)


def _is_network_device(value: Value) -> bool:
    return value.matches("driver", _DRIVERS) or value.has(_BACK_ENDS)


def _sets_back_end(value: Value) -> bool:
    # driver.property=value, or all three with their keys.
    named = value.text.partition("=")[0].rpartition(".")[2]
    back_end = re.compile("|".join([*_BACK_ENDS, "mac"]))
    return bool(back_end.fullmatch(named)) or value.matches("property", back_end)


TABLE = (
    Row("net netdev nic", "own", "interfaces"),
    Row("name", "own", "name"),
    Row("uuid", "own", "uuid"),
    Row("smbios", "own", "uuid", _sets_uuid),
    Row("machine M", "own", "qemu.machine"),
    Row("accel enable-kvm", "own", "qemu.accel"),
    Row("cpu", "own", "qemu.cpu"),
    Row("m", "own", "qemu.memory"),
    Row("smp", "own", "qemu.vcpus"),
    Row("S preconfig", "own", "qemu.paused"),
    Row("runas run-with", "own", "qemu.user"),
    Row("sandbox daemonize pidfile add-fd readconfig", "own", ""),
    Row("qmp qmp-pretty", "monitor", "a second monitor (QMP)"),
    Row("mon", "monitor", "a second monitor"),
    Row("monitor", "monitor", "a second monitor", _is_there),
    Row("serial parallel debugcon", "monitor", "a second monitor", _has_monitor),
    Row("gdb", "monitor", "gdb's stub, which has a monitor", _is_there),
    Row("s", "monitor", "gdb's stub, which has a monitor"),
    Row("qtest qtest-log", "monitor", "qtest, which writes to memory and ports"),
    Row("plugin", "monitor", "a plug-in, foreign code in qemu"),
    Row(
        "semihosting semihosting-config",
        "monitor",
        "semihosting, by which the guest opens files of the host",
    ),
    Row(
        "object",
        "monitor",
        "qtest, which writes to memory and ports",
        lambda value: value.matches("qom-type", _QTEST),
    ),
    Row(
        "object",
        "monitor",
        "a device that another process serves or uses",
        lambda value: value.matches("qom-type", _SERVERS),
    ),
    Row(
        "object",
        "device",
        "another way for the frames of a NIC",
        lambda value: value.matches("qom-type", _FRAMES),
    ),
    Row(
        "device",
        "device",
        "a network device, or one of the host's that may be a network device",
        _is_network_device,
    ),
    Row("usbdevice", "device", "a USB device that may be a network device"),
    Row("set", "device", "other values for what this module sets"),
    Row("global", "device", "another back end for a NIC", _sets_back_end),
    Row("incoming", "device", "a state that a program writes", _is_program),
    Row(
        "chardev fsdev virtfs object serial parallel debugcon incoming",
        "device",
        "a file that qemu has open, as the network devices are",
        _is_open_file,
    ),
    Row(
        "device object chardev incoming",
        "device",
        "what cannot be read as JSON, so that nobody knows what it is",
        lambda value: value.pairs is None,
    ),
)
# The key of a value's first word, if the word has none.
_FIRST_KEYS = {
    "device": "driver",
    "object": "qom-type",
    "chardev": "backend",
    "fsdev": "fsdriver",
    "virtfs": "fsdriver",
}
_WITHOUT_VALUE = ("s", "semihosting")
_ROWS: dict[str, list[Row]] = {}
for _row in TABLE:
    for _option in _row.options.split():
        _ROWS.setdefault(_option, []).append(_row)


class Refusal(t.NamedTuple):
    """An argument that a VM must not have, with its value from the task. For ``gives`` see :class:`Row`."""

    argument: str
    kind: Kind
    gives: str


def refusals(arguments: t.Sequence[str]) -> t.Iterator[Refusal]:
    """Yield the arguments that a VM must not have.

    A word that begins with a dash counts as an option, even if it could be the value of the word before it.
    qemu accepts one dash or two.
    """
    for word, following in zip(arguments, [*arguments[1:], ""]):
        plain = _plain(word)
        if _NODE.search(plain):
            yield Refusal(word, "device", "the node of a network device")
        elif _OPEN_FILE.search(plain):
            yield Refusal(word, "device", "a file that qemu has open")
        if not word.startswith("-"):
            continue
        option, equals, rest = word[1:].removeprefix("-").partition("=")
        text = rest if equals else following
        value = Value(text, _pairs(text, _FIRST_KEYS.get(option, "")))
        for row in _ROWS.get(option, ()):
            if row.when(value):
                own = row.kind == "own" and row.when is _always
                alone = equals or own or option in _WITHOUT_VALUE
                yield Refusal(
                    word if alone else f"{word} {text}".rstrip(), row.kind, row.gives
                )
                break


def _plain(word: str) -> str:
    """Return a word with its paths in their shortest form. JSON may write each character as an escape."""
    if "{" in word:
        word = re.sub(
            r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), word
        )
        word = word.replace("\\/", "/")
    word = re.sub(r"/(?:\.?/)+", "/", word)
    while True:
        shorter = re.sub(r"/(?!\.\./)[^/]+/\.\./", "/", word, count=1)
        if shorter == word:
            return word
        word = shorter


def _pairs(text: str, first_key: str) -> Pairs | None:
    """Read a value in qemu's way: as JSON, or as keys and values between commas.

    A doubled comma stands for a comma in a value.
    """
    if text.startswith("{"):
        try:
            return _flat("", json.loads(text, object_pairs_hook=Pairs))
        except (ValueError, RecursionError):
            return None
    pairs = []
    words = text.replace(",,", "\0").split(",")
    for number, word in enumerate(words):
        key, equals, value = word.replace("\0", ",").partition("=")
        if not equals and number == 0:
            key, value = first_key, key
        pairs.append((key.rpartition(".")[2], value))
    return pairs


def _flat(key: str, value: t.Any) -> Pairs:
    """Return the keys and values of nested JSON objects. qemu refuses a key that is given twice."""
    if isinstance(value, list) and all(isinstance(each, tuple) for each in value):
        return [pair for own, each in value for pair in _flat(own, each)]
    if isinstance(value, list):
        return [pair for each in value for pair in _flat(key, each)]
    return [(key, str(value))]
