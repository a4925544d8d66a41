# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns the options of a task into qemu's command line, netdevs and devices. Pure.

Sources: ``qemu-system-x86_64(1)``, QMP ``netdev_add`` and ``device_add``.
"""

from __future__ import annotations

import json
import re
import typing as t

from .._audit.mode import Mode
from .._errors import OptionError
from .._net.interface import Interface
from .._text import check_argument
from .ids import MONITOR_ARGUMENT, device_id, netdev_id, port_id

if t.TYPE_CHECKING:
    from .arguments import Refusal

# Each slot of pcie.0 gets eight root ports, beginning with a slot that -nodefaults leaves free.
_FIRST_SLOT = 0x10
_LAST_SLOT = 0x1E
_PORTS_PER_SLOT = 8
MAX_PORTS = (_LAST_SLOT - _FIRST_SLOT + 1) * _PORTS_PER_SLOT

_MEMORY = re.compile(r"[1-9][0-9]*[KMGTkmgt]?", re.ASCII)
_NO_PCIE = re.compile(r"(?:type=)?(?:pc|pc-i440fx.*|isapc|microvm|none)(?:,.*)?")

# A guest that breaks out of qemu can neither gain privileges nor start programs.
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


class QemuOptions(t.NamedTuple):
    """The option ``qemu``: how to start a VM that does not run."""

    binary: str | None
    machine: str
    accel: str
    cpu: str | None
    memory: str
    vcpus: int
    args: tuple[str, ...]
    user: str | None
    paused: bool
    hotplug_ports: int

    @property
    def virt(self) -> str:
        """Return the records' ``virt``: ``kvm``, or ``qemu`` under TCG."""
        return "kvm" if self.accel == "kvm" else "qemu"


def parse_qemu(
    options: t.Mapping[str, t.Any],
    interfaces: t.Sequence[Interface],
    audit: Mode = "required",
) -> QemuOptions:
    """Check the option ``qemu``. Raises :class:`OptionError`.

    A second monitor is an error only if ``audit`` asks for a proof, see :func:`monitors`.
    """
    qemu = QemuOptions(**{**options, "args": tuple(options["args"])})
    for name in ("binary", "machine", "cpu", "user"):
        if "\0" in (getattr(qemu, name) or ""):
            raise OptionError(f"qemu.{name}", "it cannot hold a NUL byte")
        check_argument(f"qemu.{name}", getattr(qemu, name) or "")
    if not _MEMORY.fullmatch(qemu.memory):
        raise OptionError(
            "qemu.memory",
            f"{qemu.memory!r} is not a size (a number of MiB, or 512M, 4G)",
        )
    if qemu.vcpus < 1:
        raise OptionError("qemu.vcpus", f"{qemu.vcpus} is less than 1")
    if _NO_PCIE.fullmatch(qemu.machine):
        raise OptionError(
            "qemu.machine",
            f"{qemu.machine} has no PCI Express, and NICs are hot-plugged on PCI Express; use q35",
        )
    if qemu.hotplug_ports < 0:
        raise OptionError("qemu.hotplug_ports", f"{qemu.hotplug_ports} is less than 0")
    ports = _count_ports(qemu, interfaces)
    if ports > MAX_PORTS:
        raise OptionError(
            "qemu.hotplug_ports",
            f"the task asks for {ports} PCIe ports ({len(interfaces)} interfaces and {qemu.hotplug_ports} spare), and "
            f"a VM has at most {MAX_PORTS}",
        )
    for argument in qemu.args:
        if "\0" in argument:
            raise OptionError("qemu.args", "an argument cannot hold a NUL byte")
        check_argument("qemu.args", argument)
    # The import is here because a hot-plug has no such arguments, and each import takes time.
    from .arguments import refusals

    for refusal in refusals(qemu.args):
        if refusal.kind != "monitor" or audit == "required":
            raise OptionError("qemu.args", _why(refusal))
    return qemu


def monitors(qemu: QemuOptions) -> list[str]:
    """Return a sentence for each further monitor, or other way into qemu, that the arguments give the VM."""
    from .arguments import refusals

    return [
        f"qemu.args: {refusal.argument} gives the VM {refusal.gives}: anybody who reaches it can give the VM network "
        "devices that are not on record. The task allows it because it does not have audit: required"
        for refusal in refusals(qemu.args)
        if refusal.kind == "monitor"
    ]


def _why(refusal: Refusal) -> str:
    """Return what is wrong with an argument, and what to do."""
    argument, kind, gives = refusal
    if kind == "own":
        instead = f"; use the option {gives}" if gives else ""
        return f"the module itself sets {argument}{instead}"
    if kind == "monitor":
        return (
            f"{argument} gives the VM {gives}, through which the VM can get network devices that are not on record. "
            "Leave it out, or allow it with audit: best_effort"
        )
    return (
        f"{argument} gives the VM {gives}, which would not be on record. Leave it out, and give the VM its network "
        "devices with the option interfaces"
    )


def netdev(
    interface: Interface, queues: t.Sequence[str], vhosts: t.Sequence[str]
) -> dict[str, t.Any]:
    """Return the arguments of a netdev over open fds.

    ``queues`` and ``vhosts`` are qemu's names for the fds: numbers on the command line, names given by
    ``getfd`` over QMP.
    """
    if interface.type == "vdpa":
        (node,) = queues
        own = netdev_id(interface.mac)
        return {"type": "vhost-vdpa", "id": own, "vhostfd": node}
    arguments: dict[str, t.Any] = {"type": "tap", "id": netdev_id(interface.mac)}
    arguments["fd" if len(queues) == 1 else "fds"] = ":".join(queues)
    # vhost is always given, because with vhost=on and no fd, qemu would open /dev/vhost-net by
    # itself.
    arguments["vhost"] = bool(vhosts)
    if vhosts:
        # Without vhostforce a vhost failure ends qemu, even a running one.
        arguments["vhostforce"] = True
        arguments["vhostfd" if len(vhosts) == 1 else "vhostfds"] = ":".join(vhosts)
    return arguments


def nic(interface: Interface, port: str | None) -> dict[str, t.Any]:
    """Return the arguments of a NIC's front end, on a PCIe port if one is given."""
    arguments: dict[str, t.Any] = {
        "driver": interface.model,
        "id": device_id(interface.mac),
        "netdev": netdev_id(interface.mac),
        "mac": interface.mac,
    }
    if port is not None and interface.is_pci:
        # A port has one place. Without the address qemu accepts a second NIC there, which the guest
        # never sees.
        arguments.update({"bus": port, "addr": "0x0"})
    if interface.queues > 1:
        # One vector per direction of a queue, one for changes, one for control.
        arguments.update({"mq": True, "vectors": 2 * interface.queues + 2})
    if interface.mtu is not None and interface.is_virtio:
        arguments["host_mtu"] = interface.mtu
    return arguments


class Backend(t.NamedTuple):
    """The fds of one interface, in the words of the command line."""

    interface: Interface
    queues: tuple[int, ...]
    vhosts: tuple[int, ...]


def argv(
    binary: str,
    name: str,
    uuid: str,
    qemu: QemuOptions,
    version: tuple[int, int],
    monitor_fd: int,
    backends: t.Sequence[Backend],
) -> list[str]:
    """Return qemu's command line. The guest stays stopped until its records are written."""
    arguments = [
        binary,
        "-name",
        f"guest={name.replace(',', ',,')},debug-threads=on",
        "-uuid",
        uuid,
    ]
    arguments += [
        "-machine",
        qemu.machine,
        "-accel",
        qemu.accel,
        "-m",
        qemu.memory,
        "-smp",
        str(qemu.vcpus),
    ]
    if qemu.cpu is not None:
        arguments += ["-cpu", qemu.cpu]
    arguments += [
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-sandbox",
        _SANDBOX,
        "-S",
    ]
    arguments += ["-chardev", f"socket,id=virtaudit,fd={monitor_fd},server=on,wait=off"]
    arguments += ["-mon", MONITOR_ARGUMENT]
    interfaces = [backend.interface for backend in backends]
    for number in range(_count_ports(qemu, interfaces)):
        arguments += ["-device", _json(_root_port(number))]
    ports = iter(range(MAX_PORTS))
    for backend in backends:
        port = port_id(next(ports)) if backend.interface.is_pci else None
        queues, vhosts = map(str, backend.queues), map(str, backend.vhosts)
        arguments += [
            "-netdev",
            _netdev_text(netdev(backend.interface, [*queues], [*vhosts]), version),
        ]
        arguments += ["-device", _json(nic(backend.interface, port))]
    return [*arguments, *qemu.args]


def _count_ports(qemu: QemuOptions, interfaces: t.Sequence[Interface]) -> int:
    return sum(interface.is_pci for interface in interfaces) + qemu.hotplug_ports


def _root_port(number: int) -> dict[str, t.Any]:
    slot, function = divmod(number, _PORTS_PER_SLOT)
    port: dict[str, t.Any] = {
        "driver": "pcie-root-port",
        "id": port_id(number),
        "bus": "pcie.0",
    }
    port.update({"chassis": number + 1, "addr": f"{_FIRST_SLOT + slot:x}.{function}"})
    if function == 0:
        port["multifunction"] = True
    return port


def _netdev_text(arguments: t.Mapping[str, t.Any], version: tuple[int, int]) -> str:
    if version >= (7, 2):
        return _json(arguments)
    # An older qemu accepts no JSON here. The values are ids and numbers, so nothing needs escaping.
    words = [
        f"{key}={'on' if value is True else 'off' if value is False else value}"
        for key, value in arguments.items()
    ]
    return ",".join([words[0].partition("=")[2], *words[1:]])


def _json(arguments: t.Mapping[str, t.Any]) -> str:
    return json.dumps(arguments, separators=(",", ":"))
