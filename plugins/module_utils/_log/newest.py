# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Picks from the logs the records that a question for one VM needs. The newest record comes first."""

from __future__ import annotations

import itertools
import typing as t

from .._audit.kernel import KernelOpen
from .._audit.record import encode_outside
from .boot import without_containers
from .files import LogFile
from .items import Forged, Item, Mark
from .lines import ALERT_NEEDLES, VIRT_NEEDLE, last_mark, read_backwards
from .scan import BOOT_NEEDLES
from .unread import Unread
from .wanted import Wanted

if t.TYPE_CHECKING:
    from .recall import Logs

# If a question is about more VMs than this, the code reads all records, because the search for each text takes
# time.
_MANY_VMS = 8


class Newest(t.NamedTuple):
    """The logs from their end to their beginning.

    ``mark`` is the first record since the host booted. If the code cannot read the logs backwards, ``whole`` has all their
    records, in order.
    """

    logs: Logs
    wanted: Wanted
    mark: Mark | None
    whole: t.Sequence[Item] | None

    def of_question(self, unread: Unread) -> t.Iterator[Item]:
        """Yield the records that may have the name or the MAC of the question, and those that show boots."""
        wanted = self.wanted
        terms = [f"mac={wanted.mac}" if wanted.mac else f"vm={wanted.name}"]
        return self._pick(_needles(wanted), terms, unread)

    def of_vms(self, uuids: t.Collection[str], details: bool) -> t.Iterator[Item]:
        """Yield the records of VMs, and those that show boots. ``details`` asks for AVC and anomaly records too."""
        needles = [*_of_vms(uuids), *(ALERT_NEEDLES if details else ())]
        # An index has no alerts, and it cannot answer a question about all VMs.
        indexed = not details and len(uuids) <= _MANY_VMS
        terms = [f"uuid={uuid}" for uuid in sorted(uuids)] if indexed else []
        return self._pick(needles, terms, self.logs.unread)

    def _pick(
        self, needles: t.Sequence[bytes], terms: t.Sequence[str], unread: Unread
    ) -> t.Iterator[Item]:
        if self.whole is not None:
            return (item for item in reversed(self.whole) if _is_in_place(item))
        items = self._backwards(needles, terms, unread)
        return without_containers(items, self.logs.host, self.mark)

    def _backwards(
        self, needles: t.Sequence[bytes], terms: t.Sequence[str], unread: Unread
    ) -> t.Iterator[Item]:
        # The import is here because a task that reads all of the logs needs no index.
        from .lookup import Lookup

        logs = self.logs
        needles = [*needles, *BOOT_NEEDLES]
        lookup = Lookup(terms, logs.keep_index) if terms else None
        for log in reversed(logs.files):
            items = read_backwards(log, needles, unread, lookup)
            for item in itertools.chain(last_of(log), items):
                daemon = isinstance(item, Mark) and item.daemon
                if self.wanted.in_time(item) and not daemon:
                    yield logs.names.unify(item)


def _is_in_place(item: Item) -> bool:
    return not (
        isinstance(item, KernelOpen) or (isinstance(item, Forged) and item.apart)
    )


def last_of(log: LogFile) -> list[Mark]:
    """Return the last record of a log that has a serial number, if there is one.

    If the next log begins with a lower number, the host has booted between the two logs.
    """
    mark = last_mark(log)
    return [] if mark is None else [mark]


def _needles(wanted: Wanted) -> list[bytes]:
    if wanted.mac:
        return _both_cases(wanted.mac)
    forms = encode_outside(wanted.name or "")
    # The same text in a line of JSON.
    forms += [form.replace('"', '\\"') for form in forms if '"' in form]
    return [f"vm={form}".encode("utf-8", "surrogateescape") for form in forms]


def _of_vms(uuids: t.Collection[str]) -> list[bytes]:
    if len(uuids) > _MANY_VMS:
        return [VIRT_NEEDLE]
    return [b"uuid=" + text for uuid in sorted(uuids) for text in _both_cases(uuid)]


def _both_cases(text: str) -> list[bytes]:
    """Return the notations that records may have of a UUID or a MAC. This collection writes lower case."""
    return [each.encode("ascii") for each in sorted({text, text.upper()})]
