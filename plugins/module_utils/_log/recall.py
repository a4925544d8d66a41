# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the logs: all of them forwards, or what is on record of some VMs backwards, no further than needed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import typing as t

from .._audit.kernel import Major
from .._audit.record import encode_outside
from .boot import Boots, Host, boot_mark, shutdowns, with_mark
from .files import LogFile, Unread
from .lines import (
    ALERT_NEEDLES,
    KERNEL_NEEDLES,
    VIRT_NEEDLE,
    Boot,
    Item,
    Mark,
    last_mark,
    read_backwards,
    read_log,
)
from .names import Names
from .parse import Logged, uuid_of
from .scan import BOOT_NEEDLES

# Of more VMs all records are read: each text that is searched takes its time.
_MANY_VMS = 8


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which VM and NIC is asked for, ``None`` for any, and which time, in seconds since the epoch."""

    name: str | None = None
    uuid: str | None = None
    mac: str | None = None
    since: float | None = None
    until: float | None = None

    def any_vm(self) -> bool:
        """Tell whether no VM is asked for."""
        return not (self.name or self.uuid or self.mac)

    def in_time(self, item: Item) -> bool:
        """Tell whether a record is not later than what is asked for."""
        return self.until is None or item.time <= self.until

    def is_before(self, item: Item) -> bool:
        """Tell whether a record is older than what is asked for; without ``since`` any is."""
        return self.since is None or item.time < self.since


def read_all(
    logs: t.Sequence[LogFile],
    wanted: Wanted,
    details: bool,
    unread: list[Unread],
    host: Host | None = None,
) -> t.Iterator[Item]:
    """Yield all that matters, oldest first. ``details`` asks for AVC and anomaly records too.

    ``host`` is the one whose own logs these are.
    """
    names = Names.of(logs, host)
    macvtap = host.macvtap if host is not None else None
    items = map(names.unify, _read_all(logs, wanted, details, unread, macvtap))
    yield from with_mark(items, _boot(logs, wanted, host, names))
    yield from _end(logs, wanted, host)


def _read_all(
    logs: t.Sequence[LogFile],
    wanted: Wanted,
    details: bool,
    unread: list[Unread],
    macvtap: Major | None,
) -> t.Iterator[Item]:
    needles = [VIRT_NEEDLE, *BOOT_NEEDLES, *KERNEL_NEEDLES]
    if details:
        needles += ALERT_NEEDLES
    for log in logs:
        for item in itertools.chain(
            read_log(log, needles, unread, macvtap), _last(log)
        ):
            if wanted.in_time(item):
                yield item


def _last(log: LogFile) -> list[Mark]:
    """Return the last record of a log: when the next one has a lower number, the host has booted between them."""
    mark = last_mark(log)
    return [] if mark is None else [mark]


def _boot(
    logs: t.Sequence[LogFile], wanted: Wanted, host: Host | None, names: Names
) -> Mark | None:
    """Return the first record since the host booted, which shows what was before."""
    try:
        mark = boot_mark(logs, host) if host is not None else None
    except OSError:
        # Who reads the log for the answer says so.
        return None
    return names.unify(mark) if mark is not None and wanted.in_time(mark) else None


def _end(
    logs: t.Sequence[LogFile], wanted: Wanted, host: Host | None
) -> t.Iterator[Boot]:
    """Yield which hosts went down with the end of their logs. The one that this runs on did not."""
    if logs and host is None:
        with contextlib.suppress(OSError):
            yield from filter(wanted.in_time, shutdowns(logs[-1]))


def recall(
    logs: t.Sequence[LogFile],
    wanted: Wanted,
    details: bool,
    unread: list[Unread],
    host: Host | None = None,
) -> list[Item]:
    """Return what is on record of the VM that is asked for, oldest first, from the start that its last run had.

    ``since`` has it read on to that time. A name stands for the VM that had it last, a MAC for all
    that had to do with it since the host booted. ``host`` is the one whose own logs these are.
    """
    names = Names.of(logs, host)
    mark = _boot(logs, wanted, host, names)
    uuids = {wanted.uuid} if wanted.uuid else _resolve(logs, wanted, names, mark)
    if not uuids:
        return []
    found: list[Item] = []
    # Those of which nothing older can matter.
    settled: set[str] = set()
    needles = [*_of_vms(uuids), *(ALERT_NEEDLES if details else ())]
    boots = Boots(names.own, mark)
    for item in _newest_first(logs, needles, wanted, unread, names):
        if boots.after(item):
            settled |= uuids
            if wanted.is_before(item):
                break
        uuid = uuid_of(item) if isinstance(item, Logged) else None
        if isinstance(item, Logged) and uuid not in uuids:
            continue
        found.append(item)
        # Several hosts in one log: a VM may have moved between them.
        if uuid and item.node in names.own and _begins(item):
            settled.add(uuid)
        if settled >= uuids and wanted.is_before(item):
            break
    found.reverse()
    return [*with_mark(found, mark), *_end(logs, wanted, host)]


def _resolve(
    logs: t.Sequence[LogFile], wanted: Wanted, names: Names, mark: Mark | None
) -> set[str]:
    """Return the UUIDs that a name or a MAC stands for."""
    uuids: set[str] = set()
    done = False
    boots = Boots(names.own, mark)
    # What cannot be read is noted when it is read for the answer.
    for item in _newest_first(logs, _needles(wanted), wanted, [], names):
        if boots.after(item):
            done = True
            if wanted.is_before(item):
                break
        uuid = uuid_of(item) if isinstance(item, Logged) else None
        if uuid and isinstance(item, Logged) and _speaks_of(item, wanted):
            uuids.add(uuid)
            # A VM may hold the MAC since long before another one got it.
            done = done or (wanted.mac is None and item.node in names.own)
        if done and wanted.is_before(item):
            break
    return uuids


def _needles(wanted: Wanted) -> list[bytes]:
    if wanted.mac:
        return _both_cases(wanted.mac)
    forms = encode_outside(wanted.name or "")
    return [f"vm={form}".encode("utf-8", "surrogateescape") for form in forms]


def _of_vms(uuids: t.Collection[str]) -> list[bytes]:
    if len(uuids) > _MANY_VMS:
        return [VIRT_NEEDLE]
    return [b"uuid=" + text for uuid in sorted(uuids) for text in _both_cases(uuid)]


def _both_cases(text: str) -> list[bytes]:
    """Return a UUID or a MAC as records may have it: ours have it in lower case."""
    return [each.encode("ascii") for each in sorted({text, text.upper()})]


def _newest_first(
    logs: t.Sequence[LogFile],
    needles: t.Sequence[bytes],
    wanted: Wanted,
    unread: list[Unread],
    names: Names,
) -> t.Iterator[Item]:
    needles = [*needles, *BOOT_NEEDLES]
    for log in reversed(logs):
        for item in itertools.chain(_last(log), read_backwards(log, needles, unread)):
            if wanted.in_time(item):
                yield names.unify(item)


def _speaks_of(logged: Logged, wanted: Wanted) -> bool:
    fields = logged.record.fields
    if wanted.name is not None and fields.get("vm") != wanted.name:
        return False
    return wanted.mac is None or wanted.mac in macs_of(logged)


def macs_of(logged: Logged) -> set[str]:
    """Return the MACs that a record names."""
    named = (logged.record.fields.get(key) for key in ("net", "new-net", "old-net"))
    return {mac.lower() for mac in named if mac}


def _begins(item: Item) -> bool:
    """Tell whether a run of a VM begins with a record."""
    return (
        isinstance(item, Logged)
        and item.record.type == "VIRT_MACHINE_ID"
        and item.record.fields.get("res") == "success"
    )
