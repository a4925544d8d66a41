# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of one host in its records. They change with ``name_format`` (``auditd.conf(5)``)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from .auditd_conf import log_path
from .boot import Host
from .files import LogFile
from .items import Boot, HeaderHost, Item
from .lines import last_mark, marks

_T = t.TypeVar("_T", bound=Item)

# The name that a host has in a header while it boots, before it gets its own.
_NO_NAME = ("localhost", "localhost.localdomain")


@dataclasses.dataclass(frozen=True)
class Names:
    """The names of the host that the logs come from. ``newest`` is the name in its last record.

    ``named`` are the names in the records at the beginnings and ends of the logs.
    """

    own: t.Container[str | None] = frozenset((None,))
    newest: str | None = None
    named: t.Collection[str | None] = ()
    _headers: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, logs: t.Sequence[LogFile], host: Host | None) -> Names:
        """Return the names of ``host`` if these are its own logs and nobody else's.

        In any other logs, only the records without a name count as those of one host.
        """
        with contextlib.suppress(OSError):
            if host is None:
                return cls(named=frozenset(_nodes(logs)))
            if alone(logs, host):
                for log in reversed(logs):
                    mark = last_mark(log)
                    if mark is not None:
                        return cls(host.nodes, mark.node)
        return cls()

    def unify(self, item: _T) -> _T:
        """Give a record of the host the host's newest name, so that a change of the name does not make two VMs of one.

        Records without a name belong to the first host that a header names. If no header names another one, the boot of a
        host without a name is that host's.
        """
        if isinstance(item.node, HeaderHost):
            name = str(item.node)
            if isinstance(item, Boot) and name in _NO_NAME:
                alone = "other" not in self._headers
                return dataclasses.replace(item, node=None) if alone else item
            first = self._headers.setdefault("first", name)
            if name != first:
                self._headers["other"] = name
            node = None if name == first and name not in self.named else name
            return dataclasses.replace(item, node=node)
        if item.node == self.newest or item.node not in self.own:
            return item
        return dataclasses.replace(item, node=self.newest)

    def header(self) -> str | None:
        """Return the host of the records without a name, if a header names that host."""
        first = self._headers.get("first")
        return None if first in self.named else first


def alike_names(names: t.Sequence[str]) -> list[str]:
    """Return in words which of the names of hosts may be those of one host."""
    known: dict[str, str] = {}
    found = []
    for name in names:
        other = known.setdefault(name.lower(), name)
        if other != name:
            found.append(f"{other} and {name}")
    for name in names:
        lower = name.lower()
        found += [
            f"{known[lower[:at]]} and {name}"
            for at, letter in enumerate(lower)
            if letter == "." and lower[:at] in known
        ]
        if lower in _NO_NAME and len(known) > 1:
            found.append(f"{name} and {next(each for each in names if each != name)}")
    return sorted(set(found))


def alone(logs: t.Sequence[LogFile], host: Host) -> bool:
    """Tell from the beginnings and ends of the logs whether they are this host's alone.

    A collector's logs have other hosts too. Raises :class:`OSError`.
    """
    return all(node in host.nodes for node in _nodes(logs))


def hosts_of(logs: t.Sequence[LogFile]) -> set[str | None]:
    """Return the hosts that the logs come from, judged from their beginnings and ends, or ``None`` if they may
    come from any host.

    Raises :class:`OSError`.
    """
    found = {*_nodes(logs), *(host for log in logs for host in log.hosts)}
    with contextlib.suppress(OSError):
        status = os.stat(log_path())
        # A log in this host's own place counts as this host's, whatever names it has.
        if any(log.identity == (status.st_dev, status.st_ino) for log in logs):
            return (found - {None}) | {os.uname().nodename}
    return found


def _nodes(logs: t.Sequence[LogFile]) -> t.Iterator[str | None]:
    return (
        mark.node
        for log in logs
        for text in (log.head(), log.tail())
        for mark in marks(text)
    )
