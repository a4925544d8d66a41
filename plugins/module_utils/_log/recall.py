# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the logs: all of them forwards, or the records of some VMs backwards and only as far as needed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import typing as t

from .boot import (
    Boots,
    Host,
    boot_mark,
    shutdowns,
    with_mark,
    without_containers,
)
from .files import LogFile
from .items import Alert, Boot, Forged, Item, Mark, Other, serial_of
from .lines import (
    ALERT_NEEDLES,
    KERNEL_NEEDLES,
    NAMELESS_NEEDLE,
    OTHER_NEEDLES,
    VIRT_NEEDLE,
    last_mark,
    read_log,
)
from .names import Names
from .newest import Newest, last_of
from .parse import Logged, is_root, uuid_of
from .resolve import Resolved, Vm, is_past, is_untrusted, resolve
from .scan import BOOT_NEEDLES
from .unread import Unread
from .wanted import Wanted

# Somebody may have set the clock of a host back by this much.
_APART_SECONDS = 60.0
# The time of an event and its number.
Event = tuple[float, int]
# At most this many records come between two records of one event, or between two records in the wrong order.
_LATE = 128
# The first event of a log without a record.
_NO_EVENT: Event = (0.0, 0)


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
            return not self.has_copies()
        newest = 0.0
        for log in self.files:
            mark = last_mark(log)
            if log.compressed or not log.plain or log.newest_first:
                return False
            if log.first_event()[0] < newest - _APART_SECONDS:
                return False
            newest = mark.time if mark is not None else newest
        return True

    def has_copies(self) -> bool:
        """Tell whether a log begins within the log before it, because somebody has kept a copy of the log beside it.

        Times alone do not show this, because somebody may have set the clock of the host back.
        """
        begins = [log.first_event() for log in self.files]
        return any(
            begin != _NO_EVENT and (begin == later or _is_within(log, begin, later))
            for log, begin, later in zip(self.files, begins, begins[1:])
        )


def _is_within(log: LogFile, begin: Event, event: Event) -> bool:
    """Tell whether a log with this first event has another event long before its end."""
    if not (begin[0] <= event[0] and begin[1] <= event[1]):
        return False
    mark = last_mark(log)
    return (
        mark is not None
        and event[0] <= mark.time
        and event[1] + _LATE < serial_of(mark.event)
    )


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
    mark = _boot(logs, wanted)
    yield from with_mark(without_containers(items, logs.host, mark), mark)
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
        for item in itertools.chain(items, () if log.newest_first else last_of(log)):
            if wanted.in_time(item):
                yield item
        log_ends()


def _boot(logs: Logs, wanted: Wanted) -> Mark | None:
    """Return the first record since the host booted. It shows which records are of an earlier boot."""
    try:
        mark = boot_mark(logs.files, logs.host) if logs.host is not None else None
    except OSError:
        # The code that reads the log for the answer reports the error.
        return None
    return logs.names.unify(mark) if mark is not None and wanted.in_time(mark) else None


def _end(logs: Logs, wanted: Wanted) -> t.Iterator[Boot | Forged]:
    """Yield which hosts shut down at the end of their logs. The host that this runs on did not."""
    if logs.files and logs.host is None:
        with contextlib.suppress(OSError):
            yield from filter(wanted.in_time, shutdowns(logs.files[-1]))


@dataclasses.dataclass(frozen=True)
class Recalled:
    """What is on record of a VM.

    ``since_boot`` tells that the search went back no further than the host's last boot. ``mark`` is the first record
    since then, if the logs show it.
    """

    items: t.Iterable[Item]
    since_boot: bool = False
    mark: Mark | None = None


def recall(
    logs: Logs, wanted: Wanted, details: bool, whole: t.Sequence[Item] | None = None
) -> Recalled:
    """Return what is on record of the VM that the task asks for, oldest first, from the start of its last run.

    With ``since``, read further back to that time. A name means the VM that had it last, and a MAC means all
    VMs that had it since the host booted. ``whole`` gives everything that is on record, in order, if the logs
    cannot be read backwards.
    """
    own = logs.names.own
    newest = Newest(logs, wanted, _boot(logs, wanted), whole)
    if wanted.uuid:
        resolved = Resolved({(wanted.uuid, wanted.name)})
    else:
        resolved = resolve(newest)
    since_boot = resolved.since_boot
    if not resolved.vms:
        items = [*resolved.untrusted[::-1], *_end(logs, wanted)]
        return Recalled(items, since_boot, newest.mark)
    uuids = {uuid for uuid, _name in resolved.vms}
    found: list[Item] = []
    # VMs whose older records do not matter.
    settled: set[Vm] = set()
    boots = Boots(newest.mark)
    newer: dict[str | None, Item] = {}
    for picked in newest.of_vms(uuids, details):
        other = isinstance(picked, Logged) and not (
            uuid_of(picked) in uuids or is_untrusted(picked, wanted)
        )
        item = Other(picked.event, picked.time, picked.node) if other else picked
        last = newer.get(item.node)
        newer[item.node] = item
        booted = boots.after(item)
        # A boot or a start after the time of the question may have ended a run that was on at that time.
        if booted and item.node in own and is_past(boots, wanted):
            since_boot = True
            break
        if booted or isinstance(last, Boot):
            # These two records show whether the host booted, even if they are about other VMs.
            found += [each for each in (last, item) if isinstance(each, Other)]
        if isinstance(item, Other):
            continue
        if isinstance(item, Alert) and not details:
            continue
        found.append(item)
        # Several hosts in one log: a VM may have moved between them.
        if item.node in own and wanted.is_before(item):
            settled |= {vm for vm in resolved.vms if _begins(item, *vm)}
        if settled >= resolved.vms:
            break
    found.reverse()
    items = [*with_mark(found, newest.mark), *_end(logs, wanted)]
    return Recalled(items, since_boot, newest.mark)


def _begins(item: Item, uuid: str, name: str | None) -> bool:
    """Tell whether a record begins a run of a VM."""
    return (
        isinstance(item, Logged)
        and uuid_of(item) == uuid
        and name in (None, item.record.fields.get("vm"))
        and is_root(item)
        and item.record.type == "VIRT_MACHINE_ID"
        and item.record.fields.get("res") == "success"
    )
