# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the VM of a task: its note, its process, its monitor, its NICs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pwd
import typing as t

from .._audit.messages import Messages, Vm
from .._audit.mode import Mode
from .._audit.origin import Origin
from .._errors import MonitorError, OptionError, ProcessError, UnreachableError
from .._proc import Process, boot_id
from .._qemu.monitor import Monitor
from .._qemu.nics import Inventory, free_ports, take_inventory, virt_type
from .._qemu.process import find_qemu
from . import identity, statedir, target
from .nic import Nic, observe_nics
from .note import Note
from .statedir import VmState

_ENDING_SECONDS = 1.0


@dataclasses.dataclass
class Live:
    """A VM that runs: its process, the session with its monitor, and what they told last."""

    process: Process
    monitor: Monitor
    inventory: Inventory
    nics: dict[str, Nic]

    def free_ports(self, enough: int | None = None) -> list[str]:
        """Return the PCIe ports that have no device now, or the first ``enough`` of them."""
        return free_ports(self.monitor, self.inventory.ports, enough)


class Session:
    """One task's view of its VM. Use it as a context manager.

    In check mode nothing is written and nothing is locked. Raises :class:`VirtauditError`.
    """

    def __init__(self, params: t.Mapping[str, t.Any], check_mode: bool) -> None:
        self.name = target.parse_name(params["name"])
        self._given_uuid = (
            None if params["uuid"] is None else target.parse_uuid(params["uuid"])
        )
        self._given_socket: str | None = params["qmp_socket"]
        self._asked_user: str | None = (params.get("qemu") or {}).get("user")
        self.audit: Mode = params["audit"]
        self._check_mode = check_mode
        self.timeout = float(params["timeout"])
        if not 0 < self.timeout < math.inf:
            raise OptionError(
                "timeout", f"{self.timeout:g} is not a positive number of seconds"
            )
        self._stack = contextlib.ExitStack()
        self.warnings: list[str] = []
        self.uuid = ""
        self.note: Note | None = None
        self._live: Live | None = None
        self._unreached: UnreachableError | None = None

    def __enter__(self) -> Session:
        try:
            self.uuid = self._choose_uuid()
            self.state = VmState(self.uuid)
            if not self._check_mode:
                statedir.prepare_base()
                self._stack.enter_context(self.state.locked(self.timeout))
            self._load()
            self.look()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.disconnect()
        self._stack.close()

    @property
    def running(self) -> bool:
        """Tell whether the VM's qemu runs and answers."""
        return self._live is not None

    @property
    def live(self) -> Live:
        """Return the running VM. Raises :class:`ProcessError` when it does not run."""
        if self._live is None:
            raise ProcessError(f"the VM {self.name} does not run")
        return self._live

    def require_reached(self) -> None:
        """Require that somebody listened on the monitor that the task gave. Raises :class:`UnreachableError`."""
        if self._unreached is not None:
            raise self._unreached

    @property
    def nics(self) -> dict[str, Nic]:
        """Return the NICs that the VM has, by MAC; none when it does not run."""
        return self._live.nics if self._live else {}

    @property
    def qmp_socket(self) -> str:
        """Return the path of the VM's monitor."""
        return self._given_socket or (
            self.note.qmp_socket if self.note else self.state.qmp_socket
        )

    @property
    def unit(self) -> str | None:
        """Return the systemd scope that the VM lives in, where this collection made one."""
        return self.note.unit if self.note else None

    def look(self) -> None:
        """Find the process, connect to its monitor, and take stock of its NICs."""
        self.disconnect()
        if self._unreached is not None:
            self._require_ended(self._unreached)
            return
        process = self._expected()
        if process is None and self._given_socket is None:
            return
        try:
            self._meet()
        except MonitorError:
            # A qemu that is about to end answers no more.
            if process is None or not process.wait_end(_ENDING_SECONDS):
                raise

    def _meet(self) -> None:
        monitor = Monitor(self.qmp_socket, self.timeout)
        try:
            found = identity.behind(monitor, self.note)
            identity.require_noted(self.qmp_socket, found, self.note)
            # Records with another VM's name would be false.
            target.choose(self.name, self.uuid, identity.reported(monitor))
            self.adopt(found, monitor)
        except BaseException:
            monitor.close()
            raise

    def adopt(self, process: Process, monitor: Monitor) -> None:
        """Take a running qemu as this session's, and take stock of its NICs."""
        inventory = take_inventory(monitor)
        nics = observe_nics(inventory, process, self.note)
        self._live = Live(process, monitor, inventory, nics)

    def refresh(self) -> None:
        """Take stock of the NICs again, after something was changed."""
        live = self.live
        live.inventory = take_inventory(live.monitor)
        live.nics = observe_nics(live.inventory, live.process, self.note)

    def begin(self, note: Note) -> None:
        """Note that a task begins to change something, before it does."""
        self.state.begin(note)

    def finish(self, note: Note) -> None:
        """Note that nothing is under way."""
        note.booting, note.busy = False, None
        self.state.save(note)

    def disconnect(self) -> Process | None:
        """Leave the monitor; return the process that was behind it."""
        live, self._live = self._live, None
        if live is None:
            return None
        live.monitor.close()
        return live.process

    def virt(self) -> str:
        """Return ``kvm`` or ``qemu`` for the VM's records."""
        if self._live is not None:
            return virt_type(self._live.monitor)
        return self.note.virt if self.note else "qemu"

    def new_note(self, virt: str, started: bool, unit: str | None = None) -> Note:
        """Return a fresh note of this VM, bound to its process where there is one."""
        note = Note(
            name=self.name,
            uuid=self.uuid,
            virt=virt,
            boot_id=boot_id(),
            qmp_socket=self.qmp_socket,
            started=started,
            audit=self.audit,
            unit=unit,
        )
        if self._live is not None:
            bind(note, self._live.process)
        return note

    def messages(self, origin: Origin, virt: str | None = None) -> Messages:
        """Return the maker of the VM's records."""
        return Messages(Vm(self.name, self.uuid, virt or self.virt()), origin)

    def result(self) -> dict[str, t.Any]:
        """Return the module's ``vm`` value, without ``started``."""
        return {
            "name": self.name,
            "uuid": self.uuid,
            "pid": self._live.process.pid if self._live else None,
            "qmp_socket": self.qmp_socket if self._live else None,
            "unit": self.unit if self._live else None,
        }

    def _choose_uuid(self) -> str:
        reported, process = self._ask_identity()
        try:
            return target.choose(self.name, self._given_uuid, reported)
        except OptionError:
            if process is not None:
                # The VM that the task names may live elsewhere: then both are named.
                uuid = self._given_uuid or target.default_uuid(self.name)
                note = VmState(uuid).load()
                identity.require_noted(str(self._given_socket), process, note)
            raise

    def _ask_identity(self) -> tuple[dict[str, str | None], Process | None]:
        """Return what the monitor that the task gives tells of its VM, and whose it is, if that can be told."""
        if self._given_socket is None:
            return {}, None
        # Asked before the lock is taken, which the UUID names, and left again at once: who
        # keeps the monitor while he waits for the lock keeps the lock's owner waiting.
        try:
            with Monitor(self._given_socket, self.timeout) as monitor:
                reported, process = identity.reported(monitor), None
                with contextlib.suppress(ProcessError):
                    process = identity.behind(monitor, None)
                return reported, process
        except UnreachableError as exc:
            self._unreached = exc
            return {}, None

    def _load(self) -> None:
        self.note = self.state.load()
        if self.note is None and self.state.has_unreadable():
            from .rebuild import read_note

            self.note = read_note(self.state, write=not self._check_mode)
            sources = (
                "qemu and /proc" if self.note is None else "the audit log and /proc"
            )
            self.warnings.append(
                f"the note of VM {self.name} in {self.state.path} cannot be read; what {sources} tell is used"
            )
        if self.note is not None and self.note.boot_id != boot_id():
            # No qemu outlives its host, so this one tells nothing.
            self.note = None

    def _require_ended(self, unreached: UnreachableError) -> None:
        if self._given_uuid is None and self.note is None:
            # Nothing tells that there ever was such a VM.
            raise unreached
        identity.require_ended(unreached, self.name, self.uuid, self.note)

    def _expected(self) -> Process | None:
        """Return the living process that the VM should be, as far as the note or /proc tells before it is asked."""
        known = identity.noted(self.note)
        if known is not None:
            return known if known.is_alive() else None
        if self._given_socket is not None:
            return None
        found = find_qemu(
            self.uuid, [*identity.uids_of(self.note), *self._asked_uids()]
        )
        if found is not None and not os.path.exists(self.state.qmp_socket):
            raise OptionError(
                "qmp_socket",
                f"the VM runs (pid {found.pid}) and was not started by this collection;"
                " give the path of a QMP socket of its own",
            )
        return found

    def _asked_uids(self) -> list[int]:
        """Return the uid of the user that the task names for qemu, if it names one that exists."""
        with contextlib.suppress(KeyError):
            return [pwd.getpwnam(self._asked_user).pw_uid] if self._asked_user else []
        return []


def bind(note: Note, process: Process) -> None:
    """Note which process a VM is."""
    note.pid, note.start_time = process.pid, process.start_time
