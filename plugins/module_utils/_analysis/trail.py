# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes grants, findings and sessions from records. Pure.

UUID and name together identify a VM, and the node does too if a log tells nodes apart. A name or a MAC alone is
not enough, because people use both again, and a collector may have VMs with one UUID from two hosts.
"""

from __future__ import annotations

import collections
import typing as t

from .._audit.kernel import KernelOpen
from .._log.items import Alert, Boot, Forged, Item
from .._log.order import in_order
from .._log.parse import Logged, is_root, uuid_of
from .complaints import Complaints
from .findings import Findings
from .grants import Grant
from .history import History
from .nics import Nics
from .sessions import (
    Resource,
    Session,
    alert_fields,
    alert_result,
    seclevel,
    take_resource,
)
from .witness import Witness

# A VM that something else started has no session on record, and still its NICs come and go.
_MAX_UNSTARTED = 1000

# The host, the UUID and the name, because collectors have VMs of several hosts, and a copy of a VM
# may have the same UUID.
Key = tuple[t.Optional[str], str, t.Optional[str]]


class Trail:
    """Works out the meaning of records. Feed it with the records, and then call :meth:`finish` once.

    ``since`` leaves older findings and sessions out, but a grant that is held at the end counts however old it
    is. ``details`` keeps each session's resources and alerts. ``history`` collects the grants that ended.
    """

    def __init__(
        self,
        since: float | None = None,
        details: bool = False,
        history: History | None = None,
    ) -> None:
        self.findings = Findings(since)
        self.sessions: dict[str, Session] = {}
        self._since, self._details, self._history = since, details, history
        self._witnesses: dict[str | None, Witness] = collections.defaultdict(
            lambda: Witness(self.findings)
        )
        self._nics: dict[Key, Nics] = {}
        self._running: dict[Key, Session] = {}
        # Records before VIRT_CONTROL op=start belong to the session that it begins.
        self._resources: dict[Key, list[Resource]] = {}
        # The VM of each level, and the level of each VM.
        self._levels: dict[str, Key] = {}
        self._level_of: dict[Key, str] = {}

    def read(
        self, items: t.Iterable[Item], now: float, doubts: list[Item] | None = None
    ) -> None:
        """Take all records, in the order of their file, and judge what is open at the time ``now``.

        For ``doubts`` see :func:`in_order`.
        """
        for item in in_order(items, doubts):
            self.take(item)
        self.finish(now)

    def take(self, item: Item) -> None:
        """Take the next record."""
        if isinstance(item, Logged):
            self._take_record(item)
        elif isinstance(item, KernelOpen):
            self._witnesses[item.node].saw(item)
        elif isinstance(item, Boot):
            self._boot(item)
        elif isinstance(item, Alert):
            self._take_alert(item)
        elif isinstance(item, Forged):
            Complaints.forged(item, self.findings)

    def finish(self, now: float) -> None:
        """Judge what is left at the time ``now`` (seconds since the epoch)."""
        for witness in self._witnesses.values():
            witness.finish(now)
        for nics in self._nics.values():
            nics.finish(now)

    def grants(self) -> list[Grant]:
        """Return the grants that have not ended, the oldest first."""
        held = [grant for nics in self._nics.values() for grant in nics.grants.values()]
        return sorted(held, key=lambda grant: (grant.since, grant.event))

    def nics_of(self, uuid: str) -> list[Nics]:
        """Return what is on record of a VM's interfaces, for each host on which something is held or awaited."""
        return [nics for key, nics in self._nics.items() if key[1] == uuid]

    def running(self) -> t.Mapping[Key, Session]:
        """Return the sessions that have not ended."""
        return self._running

    def _take_record(self, logged: Logged) -> None:
        uuid = uuid_of(logged)
        if uuid is None:
            return
        key = (logged.node, uuid, logged.record.fields.get("vm"))
        if not is_root(logged):
            Complaints(*key[:2], self.findings).untrusted(logged)
            return
        fields = logged.record.fields
        success = fields.get("res") == "success"
        if logged.record.type == "VIRT_RESOURCE":
            self._take_resource(key, logged)
        elif logged.record.type == "VIRT_MACHINE_ID":
            if success:
                self._begin(key, logged)
        elif fields.get("op") == "start":
            self._start(key, logged, success)
        elif fields.get("op") == "stop" and success:
            self._stop(key, logged)
        nics = self._nics.get(key)
        if nics is not None and nics.is_empty():
            # Forget what has ended, so that it does not fill the memory.
            del self._nics[key]

    def _take_resource(self, key: Key, logged: Logged) -> None:
        fields = logged.record.fields
        if self._details or fields.get("resrc") == "net":
            running = self._running.get(key)
            resources = (
                running.resources if running else self._resources.setdefault(key, [])
            )
            if self._details or fields.get("reason") != "open":
                take_resource(resources, logged)
            if not running and len(resources) > _MAX_UNSTARTED:
                del resources[0]
        if fields.get("resrc") != "net":
            return
        if fields.get("reason") == "open" and fields.get("path"):
            self._witnesses[logged.node].recorded(logged, fields["path"] or "")
        nics = self._of(key)
        nics.take(logged)
        if resources and resources[-1].event == logged.event:
            _complete(resources[-1], nics)

    def _begin(self, key: Key, logged: Logged) -> None:
        nics = self._nics.get(key)
        if nics is not None:
            nics.begin(logged)
        self._end(key, logged.time)
        self._resources.pop(key, None)
        level = seclevel(logged.record.fields.get("vm-ctx"))
        if level is not None:
            earlier = self._level_of.get(key)
            if earlier is not None and self._levels.get(earlier) == key:
                del self._levels[earlier]
            self._levels[level], self._level_of[key] = key, level

    def _start(self, key: Key, logged: Logged, success: bool) -> None:
        self._end(key, logged.time)
        session = Session.of(logged, self._resources.pop(key, []))
        if self._since is None or logged.time >= self._since or success:
            self.sessions[session.key] = session
        if success:
            self._running[key] = session
        self._of(key).started(logged, success)

    def _stop(self, key: Key, logged: Logged) -> None:
        self._end(key, logged.time, logged)
        self._resources.pop(key, None)
        nics = self._nics.get(key)
        if nics is not None:
            nics.stopped("the VM stopped", logged)

    def _boot(self, boot: Boot) -> None:
        """Nothing that ran before has survived."""
        node = boot.node
        for key in [key for key in self._nics if key[0] == node]:
            self._nics.pop(key).stopped("the host booted", boot)
        for key in [key for key in self._running if key[0] == node]:
            self._end(key, boot.time)
        self._resources = {
            key: kept for key, kept in self._resources.items() if key[0] != node
        }

    def _end(self, key: Key, time: float, stop: Logged | None = None) -> None:
        """End the session that runs, if there is one. Leave it out if it was over before ``since``."""
        session = self._running.pop(key, None)
        if session is None:
            return
        session.close("lost" if stop is None else "stopped", stop)
        if self._since is not None and time < self._since:
            self.sessions.pop(session.key, None)

    def _take_alert(self, alert: Alert) -> None:
        fields = alert_fields(alert)
        context = fields.get("scontext") or fields.get("subj")
        level = seclevel(context)
        for key, session in self._running.items():
            mine = key[0] == alert.node and (
                fields.get("profile", "").endswith(f"libvirt-{key[1]}")
                or fields.get("pid") == str(session.pid)
                or (level is not None and self._levels.get(level) == key)
            )
            if mine:
                session.alerts.append(alert_result(alert, fields))
                return

    def _of(self, key: Key) -> Nics:
        nics = self._nics.get(key)
        if nics is None:
            nics = self._nics[key] = Nics(*key[:2], self.findings, self._history)
        return nics


def _complete(resource: Resource, nics: Nics) -> None:
    """Give a NIC that was handed over its whole network. Only its prepare record has some of the values."""
    grant = nics.grants.get((resource.resource or "").lower())
    if grant is not None and grant.event == resource.event:
        resource.network = grant.network
