# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The VM that a task works on: its note, its process, its monitor, its NICs."""

from __future__ import annotations

import contextlib
import typing as t

from .._audit.auditor import Auditor
from .._audit.origin import Origin
from .._errors import MonitorError, ProcessError, UnreachableError
from .._proc import Process, boot_id
from .._qemu.monitor import Monitor
from .._qemu.nics import Inventory, free_ports, take_inventory
from . import identity, statedir, target
from .history import History
from .nic import Nic, observe_nics
from .note import Note
from .statedir import VmState
from .target import Target

if t.TYPE_CHECKING:
    from .._audit.messages import Messages

_ENDING_SECONDS = 1.0
# A look at a VM needs some answers, and qemu gives all of them at once.
_LOOK_FACTOR = 3.0


class Live(t.NamedTuple):
    """A VM that runs: its process, the session with its monitor, and the last answers of both."""

    process: Process
    monitor: Monitor
    inventory: Inventory
    nics: dict[str, Nic]

    def free_ports(self, enough: int | None = None) -> list[str]:
        """Return the PCIe ports that have no device now. With ``enough``, return at most that many of them."""
        with self.monitor.altogether(_LOOK_FACTOR * self.monitor.timeout):
            return free_ports(self.monitor, self.inventory.ports, enough)

    def require_alive(self, ifname: str | None, mac: str) -> None:
        """Require that qemu runs if the link of a NIC is gone, because the kernel removes the taps of a qemu that has ended.

        Raises :class:`ProcessError`.
        """
        if fate := self.process.fate():
            raise ProcessError(f"the link {ifname} of {mac} is gone{fate}")


class Silent(t.NamedTuple):
    """A VM whose noted process lives and whose monitor does not answer, and the reason."""

    process: Process
    reason: MonitorError


class Vm:
    """A VM while a task has its lock or, in check mode, looks at it. :func:`find_vm` makes it.

    ``note`` is what this host knows about it, or ``None`` for a VM without our NICs. ``history`` is what an
    interrupted task has recorded about it. It is valid until the end of the first change, which goes on with
    that work. ``unreached`` is the reason if nobody answers on the monitor that the task gave. ``silent`` is only set
    by :meth:`look_or_end`, for a task that ends the VM.
    """

    def __init__(
        self,
        wanted: Target,
        uuid: str,
        note: Note | None,
        unreached: UnreachableError | None = None,
    ) -> None:
        self.target, self.uuid, self.note = wanted, uuid, note
        self.state = VmState(uuid)
        self.history = History(note)
        self._unreached = unreached
        self._live: Live | None = None
        self.silent: Silent | None = None

    @property
    def name(self) -> str:
        """Return the VM's name, which its records carry."""
        return self.target.name

    @property
    def running(self) -> bool:
        """Tell whether the VM's qemu runs and answers."""
        return self._live is not None

    @property
    def live(self) -> Live:
        """Return the running VM. Raises :class:`ProcessError` if the VM does not run."""
        if self._live is None:
            raise ProcessError(f"the VM {self.name} does not run")
        return self._live

    @property
    def nics(self) -> dict[str, Nic]:
        """Return the VM's NICs, by MAC, or none if the VM does not run."""
        return self._live.nics if self._live else {}

    @property
    def qmp_socket(self) -> str:
        """Return the path of the VM's monitor."""
        return self.target.qmp_socket or (
            self.note.qmp_socket if self.note else self.state.qmp_socket
        )

    def require_reached(self) -> None:
        """Require that a process listened on the monitor that the task gave. Raises :class:`UnreachableError`."""
        if self._unreached is not None:
            raise self._unreached

    def look(self) -> None:
        """Find the process, connect to its monitor, and list its NICs. Raises :class:`VirtauditError`."""
        self.disconnect()
        if self._unreached is not None:
            if self.target.uuid is None and self.note is None:
                # Nothing shows that there ever was such a VM.
                raise self._unreached
            identity.require_ended(self._unreached, self.name, self.uuid, self.note)
            return
        process = identity.expected(self.target, self.uuid, self.note)
        if process is None and self.target.qmp_socket is None:
            return
        try:
            self._connect()
        except MonitorError:
            # A qemu that is about to end no longer answers.
            if process is None or not process.wait_end(_ENDING_SECONDS):
                raise
            return
        if self._lacks_devices() and self.live.process.wait_end(_ENDING_SECONDS):
            # It answered, and then ended. So it is not a VM whose devices somebody has closed.
            self.disconnect()

    def look_or_end(self) -> None:
        """Do the same as :meth:`look` for a task that ends the VM. Such a task needs no answer from qemu.

        If the monitor does not answer, the noted process is the VM. Raises :class:`VirtauditError` if none is noted.
        """
        try:
            self.look()
        except MonitorError as exc:
            note, process = self.note, self.note.process if self.note else None
            if note is None or process is None or not process.is_alive():
                raise
            if self.qmp_socket != note.qmp_socket:
                # It is not certain that this monitor belongs to the VM.
                raise
            target.choose(self.name, self.uuid, {"name": note.name})
            self.silent = Silent(process, exc)

    def _lacks_devices(self) -> bool:
        """Tell whether qemu holds no device of a NIC that it held at the end of the last task."""
        noted = self.note.interfaces if self.note else {}
        return any(
            nic.phase == "held" and mac in self.nics and not self.nics[mac].devices
            for mac, nic in noted.items()
        )

    def adopt(self, process: Process, monitor: Monitor) -> None:
        """Use a running qemu as this VM, and list its NICs."""
        inventory = take_inventory(monitor)
        nics = observe_nics(inventory, process, self.note)
        self._live = Live(process, monitor, inventory, nics)

    def refresh(self) -> None:
        """List the NICs again after a change."""
        process, monitor = self.live.process, self.live.monitor
        with monitor.altogether(_LOOK_FACTOR * self.target.timeout):
            self.adopt(process, monitor)

    def disconnect(self) -> Process | None:
        """Leave the monitor, and return the process that was behind it."""
        live, self._live = self._live, None
        if live is None:
            return None
        live.monitor.close()
        return live.process

    @contextlib.contextmanager
    def change(self, auditor: Auditor) -> t.Iterator[Note]:
        """Change something about the VM. Yield its note, or a new one if it has none.

        First note that a task is under way. At the end, also after an error, write the note back, or remove it
        if it has nothing left to tell. Work that could not be proved or undone stays noted as under way, so
        that the next task goes on with it.
        """
        note = self.note = self.note or self.new_note(self.virt(), started=False)
        self.state.begin(note)
        try:
            yield note
        finally:
            # If the end of a VM is on record, its note was removed.
            if self.note is not None:
                self._settle(note, auditor)
            self.history = History(None)

    def forget(self) -> None:
        """Forget the note of a VM whose end is on record."""
        self.note, self.history = None, History(None)

    def _settle(self, note: Note, auditor: Auditor) -> None:
        auditor.prove_anyway()
        for event, record in auditor.unproved.items():
            note.unrecord(event, record.fields)
        if auditor.missed or note.is_unfinished or note.has_ended:
            self.state.save(note)
            return
        # A NIC that another program attached is no longer noted if no change of it is under way.
        note.forget_foreign()
        if note.started or note.interfaces:
            note.busy = note.busy_up = None
            self.state.save(note)
        else:
            self.state.remove()
            self.note = None

    def virt(self) -> str:
        """Return ``kvm`` or ``qemu`` for the VM's records."""
        if self._live is not None:
            return self._live.inventory.virt
        return self.note.virt if self.note else "qemu"

    def new_note(self, virt: str, started: bool, unit: str | None = None) -> Note:
        """Return a fresh note of this VM, bound to its process if it has one."""
        note = Note(
            name=self.name,
            uuid=self.uuid,
            virt=virt,
            boot_id=boot_id(),
            qmp_socket=self.qmp_socket,
            started=started,
            audit=self.target.audit,
            unit=unit,
        )
        if self._live is not None:
            note.bind(self._live.process)
        return note

    def messages(self, origin: Origin, virt: str | None = None) -> Messages:
        """Return the maker of the VM's records."""
        from .._audit.messages import Messages
        from .._audit.messages import Vm as AuditedVm

        return Messages(AuditedVm(self.name, self.uuid, virt or self.virt()), origin)

    def result(self) -> dict[str, t.Any]:
        """Return the modules' ``vm`` value, without ``started``."""
        live = self._live
        return {
            "name": self.name,
            "uuid": self.uuid,
            "pid": live.process.pid if live else None,
            "qmp_socket": self.qmp_socket if live else None,
            "unit": self.note.unit if live and self.note else None,
        }

    def _connect(self) -> None:
        monitor = Monitor(self.qmp_socket, self.target.timeout)
        try:
            with monitor.altogether(_LOOK_FACTOR * self.target.timeout):
                found = identity.behind(monitor, self.note)
                identity.require_noted(self.qmp_socket, found, self.note)
                identity.refuse_noted_elsewhere(
                    self.qmp_socket,
                    found,
                    self.note,
                    lambda: statedir.other_notes(self.uuid),
                )
                said = identity.reported(monitor)
                identity.require_same(said, found, self.name, self.uuid, self.note)
                self.adopt(found, monitor)
        except BaseException:
            monitor.close()
            raise
