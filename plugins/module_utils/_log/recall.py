# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the logs: all of them forwards, or the records of some VMs backwards and only as far as needed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import typing as t

from .._audit.kernel import KernelOpen
from .._audit.record import encode_outside
from .boot import Boots, Host, boot_mark, shutdowns, with_mark
from .files import LogFile
from .items import Alert, Boot, Item, Mark, Other
from .lines import (
    ALERT_NEEDLES,
    KERNEL_NEEDLES,
    NAMELESS_NEEDLE,
    OTHER_NEEDLES,
    VIRT_NEEDLE,
    last_mark,
    read_backwards,
    read_log,
)
from .names import Names
from .parse import Logged, is_root, macs_of, uuid_of
from .scan import BOOT_NEEDLES
from .unread import Unread
from .wanted import Wanted

# If a question is about more VMs than this, all records are read, because each text to search for
# takes time.
_MANY_VMS = 8
# Somebody may have set the clock of a host back by this much.
_APART_SECONDS = 60.0


class Logs(t.NamedTuple):
    """The logs that an answer rests on, oldest first. ``host`` is the host that they belong to."""

    files: t.Sequence[LogFile]
    unread: Unread
    names: Names
    host: Host | None = None
    # Whether an index may be written down.
    keep_index: bool = False

    def in_a_row(self) -> bool:
        """Tell whether the logs can be read backwards.

        They must have auditd's form, and each must follow the one before.
        """
        if self.host is not None:
            return True
        newest = 0.0
        for log in self.files:
            mark = last_mark(log)
            if log.compressed or not log.plain or log.newest_first:
                return False
            if log.first_event()[0] < newest - _APART_SECONDS:
                return False
            newest = mark.time if mark is not None else newest
        return True


def read_all(
    logs: Logs,
    wanted: Wanted,
    details: bool,
    log_ends: t.Callable[[], None] = lambda: None,
) -> t.Iterator[Item]:
    """Yield everything that matters, oldest first. ``details`` asks for AVC and anomaly records too.

    Call ``log_ends`` at the end of each log.
    """
    items = map(logs.names.unify, _read_all(logs, wanted, details, log_ends))
    yield from with_mark(items, _boot(logs, wanted))
    yield from _end(logs, wanted)


def _read_all(
    logs: Logs, wanted: Wanted, details: bool, log_ends: t.Callable[[], None]
) -> t.Iterator[Item]:
    needles = [VIRT_NEEDLE, NAMELESS_NEEDLE, *BOOT_NEEDLES, *KERNEL_NEEDLES]
    if details:
        needles += ALERT_NEEDLES
    majors = logs.host.majors if logs.host is not None else None
    for log in logs.files:
        more = () if log.plain and not log.compressed else OTHER_NEEDLES
        items = read_log(log, [*needles, *more], logs.unread, majors)
        if log.newest_first:
            items = reversed(list(items))
        for item in itertools.chain(items, () if log.newest_first else _last(log)):
            if wanted.in_time(item):
                yield item
        log_ends()


def _last(log: LogFile) -> list[Mark]:
    """Return the last record of a log.

    If the next log begins with a lower number, the host has booted between the two.
    """
    mark = last_mark(log)
    return [] if mark is None else [mark]


def _boot(logs: Logs, wanted: Wanted) -> Mark | None:
    """Return the first record since the host booted. It shows which records are of an earlier boot."""
    try:
        mark = boot_mark(logs.files, logs.host) if logs.host is not None else None
    except OSError:
        # The code that reads the log for the answer reports the error.
        return None
    return logs.names.unify(mark) if mark is not None and wanted.in_time(mark) else None


def _end(logs: Logs, wanted: Wanted) -> t.Iterator[Boot]:
    """Yield which hosts shut down at the end of their logs. The host that this runs on did not."""
    if logs.files and logs.host is None:
        with contextlib.suppress(OSError):
            yield from filter(wanted.in_time, shutdowns(logs.files[-1]))


@dataclasses.dataclass(frozen=True)
class Recalled:
    """What is on record of a VM.

    ``since_boot`` tells that the search went back no further than the host's last boot.
    """

    items: t.Iterable[Item]
    since_boot: bool = False


def recall(
    logs: Logs, wanted: Wanted, details: bool, whole: t.Sequence[Item] | None = None
) -> Recalled:
    """Return what is on record of the VM that the task asks for, oldest first, from the start of its last run.

    With ``since``, read further back to that time. A name means the VM that had it last, and a MAC means all
    VMs that had it since the host booted. ``whole`` gives everything that is on record, in order, if the logs
    cannot be read backwards.
    """
    names = logs.names
    mark = _boot(logs, wanted)
    uuids, since_boot = {wanted.uuid} if wanted.uuid else set(), False
    if not uuids:
        uuids, since_boot = _resolve(logs, wanted, mark, whole)
    if not uuids:
        return Recalled([], since_boot)
    found: list[Item] = []
    # VMs whose older records do not matter.
    settled: set[str] = set()
    needles = [*_of_vms(uuids), *(ALERT_NEEDLES if details else ())]
    # An index has no alerts, and it cannot answer a question about all VMs.
    indexed = not details and len(uuids) <= _MANY_VMS
    terms = [f"uuid={uuid}" for uuid in sorted(uuids)] if indexed else []
    boots = Boots(names.own, mark)
    newer: Item | None = None
    for picked in _pick(logs, needles, terms, wanted, logs.unread, whole):
        uuid = uuid_of(picked) if isinstance(picked, Logged) else None
        other = isinstance(picked, Logged) and uuid not in uuids
        item = Other(picked.event, picked.time, picked.node) if other else picked
        if boots.after(item):
            settled |= uuids
            since_boot = True
            if wanted.is_before(item):
                break
            # These two show a boot, whichever VM they are about.
            found += [each for each in (newer, item) if isinstance(each, Other)]
        newer = item
        if isinstance(item, Other):
            continue
        if isinstance(item, Alert) and not details:
            continue
        found.append(item)
        # Several hosts in one log: a VM may have moved between them.
        if uuid and item.node in names.own and _begins(item, wanted):
            settled.add(uuid)
        if settled >= uuids and wanted.is_before(item):
            break
    found.reverse()
    return Recalled([*with_mark(found, mark), *_end(logs, wanted)], since_boot)


def _resolve(
    logs: Logs, wanted: Wanted, mark: Mark | None, whole: t.Sequence[Item] | None
) -> tuple[set[str], bool]:
    """Return the UUIDs that a name or a MAC stands for, and whether the search went back only to the host's last boot."""
    uuids: set[str] = set()
    done = since_boot = False
    own = logs.names.own
    boots = Boots(own, mark)
    unread = Unread()
    terms = [f"mac={wanted.mac}" if wanted.mac else f"vm={wanted.name}"]
    for item in _pick(logs, _needles(wanted), terms, wanted, unread, whole):
        if boots.after(item):
            done = True
            if wanted.is_before(item):
                since_boot = True
                break
        uuid = uuid_of(item) if isinstance(item, Logged) else None
        if (
            uuid
            and isinstance(item, Logged)
            and is_root(item)
            and _speaks_of(item, wanted)
        ):
            uuids.add(uuid)
            # A VM may have held the MAC since long before another VM got it.
            done = done or (wanted.mac is None and item.node in own)
        if done and wanted.is_before(item):
            break
    if not uuids:
        # If there are UUIDs, the reading for the answer notes the same lines.
        logs.unread.add(unread)
    return uuids, since_boot


def _needles(wanted: Wanted) -> list[bytes]:
    if wanted.mac:
        return _both_cases(wanted.mac)
    forms = encode_outside(wanted.name or "")
    # The form in a line of JSON.
    forms += [form.replace('"', '\\"') for form in forms if '"' in form]
    return [f"vm={form}".encode("utf-8", "surrogateescape") for form in forms]


def _of_vms(uuids: t.Collection[str]) -> list[bytes]:
    if len(uuids) > _MANY_VMS:
        return [VIRT_NEEDLE]
    return [b"uuid=" + text for uuid in sorted(uuids) for text in _both_cases(uuid)]


def _both_cases(text: str) -> list[bytes]:
    """Return the notations that records may have of a UUID or a MAC. This collection writes lower case."""
    return [each.encode("ascii") for each in sorted({text, text.upper()})]


def _pick(
    logs: Logs,
    needles: t.Sequence[bytes],
    terms: t.Sequence[str],
    wanted: Wanted,
    unread: Unread,
    whole: t.Sequence[Item] | None,
) -> t.Iterator[Item]:
    if whole is None:
        return _newest_first(logs, needles, terms, wanted, unread)
    return (item for item in reversed(whole) if not isinstance(item, KernelOpen))


def _newest_first(
    logs: Logs,
    needles: t.Sequence[bytes],
    terms: t.Sequence[str],
    wanted: Wanted,
    unread: Unread,
) -> t.Iterator[Item]:
    # The import is here because a task that reads all of the logs needs no index.
    from .lookup import Lookup

    needles = [*needles, *BOOT_NEEDLES]
    lookup = Lookup(terms, logs.keep_index) if terms else None
    for log in reversed(logs.files):
        items = read_backwards(log, needles, unread, lookup)
        for item in itertools.chain(_last(log), items):
            daemon = isinstance(item, Mark) and item.daemon
            if wanted.in_time(item) and not daemon:
                yield logs.names.unify(item)


def _speaks_of(logged: Logged, wanted: Wanted) -> bool:
    fields = logged.record.fields
    if wanted.name is not None and fields.get("vm") != wanted.name:
        return False
    return wanted.mac is None or wanted.mac in macs_of(logged)


def _begins(item: Item, wanted: Wanted) -> bool:
    """Tell whether a record begins a run of a VM."""
    return (
        isinstance(item, Logged)
        and wanted.name in (None, item.record.fields.get("vm"))
        and is_root(item)
        and item.record.type == "VIRT_MACHINE_ID"
        and item.record.fields.get("res") == "success"
    )
