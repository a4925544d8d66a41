# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the logs: all of them forwards, or what is on record of some VMs backwards, no further than needed."""

from __future__ import annotations

import dataclasses
import typing as t

from .boot import Host, boot_mark, with_mark
from .files import LogFile, Unread
from .log import (
    ALERT_NEEDLES,
    BOOT_NEEDLE,
    KERNEL_NEEDLES,
    VIRT_NEEDLE,
    Boot,
    Item,
    Mark,
    last_mark,
    read_backwards,
    read_log,
    serial_of,
)
from .logged import Logged
from .names import Names
from .record import encode_outside
from .sessions import uuid_of


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
    items = map(names.unify, _read_all(logs, wanted, details, unread))
    yield from with_mark(items, _boot(logs, wanted, host, names))
    yield from _end(logs, wanted)


def _read_all(
    logs: t.Sequence[LogFile], wanted: Wanted, details: bool, unread: list[Unread]
) -> t.Iterator[Item]:
    needles = [VIRT_NEEDLE, BOOT_NEEDLE, *KERNEL_NEEDLES]
    if details:
        needles += ALERT_NEEDLES
    for log in logs:
        for item in read_log(log, needles, unread):
            if wanted.in_time(item):
                yield item


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


def _end(logs: t.Sequence[LogFile], wanted: Wanted) -> list[Item]:
    """Return the last record of all: when it has a lower number than what is held, the host has booted since."""
    mark = last_mark(logs[-1]) if logs else None
    return [mark] if mark is not None and wanted.in_time(mark) else []


def recall(
    logs: t.Sequence[LogFile],
    wanted: Wanted,
    details: bool,
    unread: list[Unread],
    host: Host | None = None,
) -> list[Item]:
    """Return what is on record of the VM that is asked for, oldest first, from the start that its last run had.

    ``since`` has it read on to that time. A name stands for the VM that had it last, a MAC for
    those that had to do with it since it was handed over last. ``host`` is the one whose own logs
    these are.
    """
    names = Names.of(logs, host)
    mark = _boot(logs, wanted, host, names)
    uuids = {wanted.uuid} if wanted.uuid else _resolve(logs, wanted, names)
    if not uuids:
        return []
    needles = [f"uuid={uuid}".encode("ascii") for uuid in sorted(uuids)]
    needles += [BOOT_NEEDLE, *(ALERT_NEEDLES if details else ())]
    found: list[Item] = []
    # Those of which nothing older can matter.
    settled: set[str] = set()
    for item in map(names.unify, _newest_first(logs, needles, wanted, unread)):
        uuid = uuid_of(item) if isinstance(item, Logged) else None
        if isinstance(item, Logged) and uuid not in uuids:
            continue
        found.append(item)
        if item.node not in names.own:
            # Several hosts in one log: a VM may have moved between them.
            continue
        if isinstance(item, Boot) or _is_before(item, mark):
            settled |= uuids
        elif isinstance(item, Logged) and uuid and _begins_or_ends(item):
            settled.add(uuid)
        if settled >= uuids and (wanted.since is None or item.time < wanted.since):
            break
    found.reverse()
    return [*with_mark(found, mark), *_end(logs, wanted)]


def _is_before(item: Item, mark: Mark | None) -> bool:
    """Tell whether a record is of an earlier boot than the mark: its number is higher, though it is older."""
    return (
        mark is not None
        and item.time < mark.time
        and serial_of(item.event) > serial_of(mark.event)
    )


def _resolve(logs: t.Sequence[LogFile], wanted: Wanted, names: Names) -> set[str]:
    """Return the UUIDs that a name or a MAC stands for."""
    uuids: set[str] = set()
    done = False
    # What cannot be read is noted when it is read for the answer.
    for item in _newest_first(logs, [*_needles(wanted), BOOT_NEEDLE], wanted, []):
        if done and (wanted.since is None or item.time < wanted.since):
            break
        if isinstance(item, Boot):
            done = done or item.node in names.own
        elif isinstance(item, Logged):
            uuid = uuid_of(item)
            if uuid is not None and _speaks_of(item, wanted):
                uuids.add(uuid)
                done = done or wanted.mac is None or _hands_over(item, wanted.mac)
    return uuids


def _needles(wanted: Wanted) -> list[bytes]:
    if wanted.mac:
        return [wanted.mac.encode("ascii")]
    forms = encode_outside(wanted.name or "")
    return [f"vm={form}".encode("utf-8", "surrogateescape") for form in forms]


def _newest_first(
    logs: t.Sequence[LogFile],
    needles: t.Sequence[bytes],
    wanted: Wanted,
    unread: list[Unread],
) -> t.Iterator[Item]:
    for log in reversed(logs):
        for item in read_backwards(log, needles, unread):
            if wanted.in_time(item):
                yield item


def _speaks_of(logged: Logged, wanted: Wanted) -> bool:
    fields = logged.record.fields
    if wanted.name is not None and fields.get("vm") != wanted.name:
        return False
    return wanted.mac is None or wanted.mac in macs_of(logged)


def macs_of(logged: Logged) -> set[str]:
    """Return the MACs that a record names."""
    named = (logged.record.fields.get(key) for key in ("net", "new-net", "old-net"))
    return {mac.lower() for mac in named if mac}


def _hands_over(logged: Logged, mac: str) -> bool:
    fields = logged.record.fields
    return fields.get("res") == "success" and fields.get("new-net") == mac


def _begins_or_ends(logged: Logged) -> bool:
    fields = logged.record.fields
    if fields.get("res") != "success":
        return False
    return logged.record.type == "VIRT_MACHINE_ID" or fields.get("op") == "stop"
