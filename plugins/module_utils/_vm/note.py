# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The note of a VM, which is what this host remembers about it between two runs.

The note is never the truth. qemu's monitor and /proc are.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from .._audit.mode import MODES, Mode
from .._audit.network import Network
from .._device import Device
from .._net.interface_types import KINDS
from .._net.mac import is_mac
from .._net.nic_link import NicLink
from .._proc import Process

_VERSION = 1

Phase = t.Literal["opening", "held", "revoked"]
_PHASES: tuple[Phase, ...] = t.get_args(Phase)
# For each type of a field of a note, the types that its value has in JSON.
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "float | None": (float, int, type(None)),
    "bool": (bool,),
    "Mode": (str,),
    "Phase": (str,),
}


@dataclasses.dataclass
class NicNote:
    """One interface that qemu got.

    ``phase`` is ``opening`` until the hand-over is on record, ``held`` while qemu has it, and ``revoked`` if
    the host side is closed and the guest still has its NIC. ``pending`` tells that the guest was asked to
    release it and has not. ``made`` tells that this collection attached it. ``network`` is the network of its
    link, apart from ``source``. ``updating`` is the network that a task is putting it on. ``observed`` is the network
    that the kernel showed before that, and a note of an older version does not have it. ``devices`` are the devices that
    a task opened for it, with their numbers in qemu as soon as qemu has them.
    """

    mac: str
    type: str
    source: str
    mode: str | None
    model: str
    ifname: str
    queues: int
    netdev: str
    phase: Phase
    pending: bool = False
    made: bool = True
    ifindex: int | None = None
    devices: list[Device] = dataclasses.field(default_factory=list)
    network: Network = dataclasses.field(default_factory=Network)
    updating: Network | None = None
    observed: Network | None = None

    @property
    def link(self) -> NicLink:
        """Return its link on the host, on its noted network."""
        network = dataclasses.replace(self.network, source=self.source)
        return NicLink(self.ifname, self.ifindex, self.mac, network)

    @property
    def links(self) -> list[NicLink]:
        """Return its link on its noted network, and on the network of an update that is under way."""
        networks = (self.link.network, self.updating)
        return [self.link.on(each) for each in networks if each is not None]

    @property
    def before_update(self) -> Network:
        """Return the network that its link was on before an update. The records of the update name it."""
        return self.observed or self.link.network

    @property
    def former(self) -> Network:
        """Return the network to put its link back on if an update fails.

        That is its noted network, even if another program had changed the link. If no task asked for an MTU, nobody noted
        one. Then the result has the MTU that the kernel showed.
        """
        noted = self.link.network
        return dataclasses.replace(noted, mtu=noted.mtu or self.before_update.mtu)

    def begin_update(self, before: Network, after: Network) -> None:
        """Note that a task begins to put its link on another network."""
        self.observed, self.updating = before, after

    def end_update(self) -> None:
        """Note that its link is on its noted network again."""
        self.observed = self.updating = None

    def put_on(self, network: Network) -> None:
        """Note the network that its link is on now."""
        self.source, self.network = network.source or "", network
        self.end_update()


@dataclasses.dataclass
class Note:
    """One VM. ``started`` tells that this collection started its qemu, and so records its end.

    ``booting`` tells that this start is not finished. ``frozen`` tells that its CPUs may be stopped for a
    revocation. ``busy`` is the time (seconds since the epoch) at which a task began to change something. If the next
    task finds it, the earlier task was cut off. ``busy_up`` is the same moment in seconds since the boot, which a clock
    that somebody sets does not change. ``audit`` is how much proof the record of its end needs if no task
    says so: the strictest mode of the tasks that gave it something. qemu made ``pid_file``, and removes it when it
    ends in good order. ``companion`` is the zipapp that its companion unit runs. ``uid`` is its qemu's uid, if one of
    our tasks chose it.
    """

    name: str
    uuid: str
    virt: str
    boot_id: str
    qmp_socket: str
    started: bool
    booting: bool = False
    frozen: bool = False
    busy: float | None = None
    busy_up: float | None = None
    audit: Mode = "required"
    pid_file: bool = False
    companion: str | None = None
    unit: str | None = None
    pid: int | None = None
    start_time: int | None = None
    uid: int | None = None
    interfaces: dict[str, NicNote] = dataclasses.field(default_factory=dict)

    @property
    def process(self) -> Process | None:
        """Return the VM's process, alive or not, or ``None`` if the note has no process."""
        if self.pid is None or self.start_time is None:
            return None
        return Process(self.pid, self.start_time)

    @property
    def has_ended(self) -> bool:
        """Tell whether the noted process has ended."""
        process = self.process
        return process is not None and not process.is_alive()

    @property
    def is_unfinished(self) -> bool:
        """Tell whether the note has work that a task began and that is neither finished nor undone."""
        nics = self.interfaces.values()
        begun = any(nic.phase == "opening" or nic.updating is not None for nic in nics)
        return self.booting or self.frozen or begun

    def bind(self, process: Process) -> None:
        """Note which process the VM is."""
        self.pid, self.start_time = process.pid, process.start_time

    def unrecord(self, event: str, fields: t.Mapping[str, str | None]) -> None:
        """Note a NIC as it was before a record, because the audit daemon has not written that record to its log.

        The next task reads the log, and writes the missing records.
        """
        reason = fields.get("reason")
        mac = fields.get("new-net") or fields.get("old-net") or fields.get("net")
        nic = self.interfaces.get(mac or "")
        if nic is None:
            return
        if reason in ("detach", "close") and nic.phase == "revoked":
            nic.phase = "held"
        elif reason in ("start", "attach") and nic.phase == "held":
            nic.phase = "opening"
        elif reason == "update" and fields.get("res") == "success":
            after = nic.updating or nic.link.network
            nic.put_on(nic.link.network.before(fields))
            nic.updating = after
        elif reason == "open":
            # An open that is not on record needs no close.
            nic.devices = [opened for opened in nic.devices if opened.event != event]

    def forget_foreign(self) -> None:
        """Forget the NICs that another program attached, unless a detach of them is under way."""
        self.interfaces = {
            mac: nic
            for mac, nic in self.interfaces.items()
            if nic.made or nic.pending or nic.phase != "held"
        }


def encode(note: Note) -> str:
    """Return a note as JSON."""
    # A task writes the note several times for each NIC, with all NICs in it. dataclasses.asdict()
    # would copy the NICs one by one, and with an indent json does not use its C encoder.
    return json.dumps({"version": _VERSION, **vars(note)}, default=vars)


def decode(text: str) -> Note:
    """Build a note from JSON. Keys of a newer version are ignored, and missing keys get their defaults.

    Raises :class:`ValueError`, :class:`TypeError` or :class:`AttributeError` if the text is not a note, or if a
    value has the wrong type.
    """
    data: dict[str, t.Any] = json.loads(text)
    if data.get("audit") not in MODES:
        data["audit"] = "required"
    interfaces = {
        mac: _build(
            NicNote,
            entry,
            devices=[_build(Device, item) for item in entry.get("devices", [])],
            network=_build(Network, entry.get("network", {})),
            updating=_build_network(entry, "updating"),
            observed=_build_network(entry, "observed"),
        )
        for mac, entry in data.get("interfaces", {}).items()
    }
    for mac, nic in interfaces.items():
        known = nic.phase in _PHASES and nic.type in KINDS
        if nic.mac != mac or not is_mac(mac) or not known:
            raise ValueError(f"{mac} is noted as {nic.mac}, {nic.type}, {nic.phase}")
    return _build(Note, data, interfaces=interfaces)


def _build_network(entry: t.Mapping[str, t.Any], key: str) -> Network | None:
    return _build(Network, entry[key]) if entry.get(key) else None


_Kind = t.TypeVar("_Kind")


def _build(kind: type[_Kind], data: t.Any, **built: t.Any) -> _Kind:
    """Build a part of a note, and check the types of its fields. ``built`` are the fields that are built already."""
    if not isinstance(data, dict):
        raise TypeError(f"{data!r} is not a part of a note")
    known: dict[str, t.Any] = dict(built)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in data and field.name not in built:
            value = known[field.name] = data[field.name]
            if type(value) not in _TYPES[str(field.type)]:
                raise TypeError(f"{field.name} is {value!r}")
    return kind(**known)
