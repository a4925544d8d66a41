# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each line of an audit log means. Pure."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from .._audit.kernel import KernelOpen
from .parse import Logged


class HeaderHost(str):
    """A host that a header names and no record does. The collector wrote the header."""


@dataclasses.dataclass(frozen=True)
class Boot:
    """The host booted or, with ``down``, shut down. Nothing that ran before has survived.

    ``boot_id`` is the name that the journal gives to what follows.
    """

    event: str
    time: float
    node: str | None
    down: bool = False
    boot_id: str | None = None


@dataclasses.dataclass(frozen=True)
class Mark:
    """Any record. It shows how far the kernel has counted.

    ``daemon`` is for the start of the audit daemon, to which the kernel gives no number.
    """

    event: str
    time: float
    node: str | None = None
    daemon: bool = False


@dataclasses.dataclass(frozen=True)
class Other(Mark):
    """A record of a VM that the task does not ask for."""


@dataclasses.dataclass(frozen=True)
class Forged(Mark):
    """A record of a boot or a shutdown that a ``user`` other than root sent. It proves nothing.

    The kernel wrote ``pid``, ``user`` and ``auid``. ``apart`` tells that it does not come at its place among the other
    records, so its number shows nothing.
    """

    type: str = ""
    pid: int = 0
    user: str = ""
    auid: int | None = None
    apart: bool = False


@dataclasses.dataclass(frozen=True)
class Alert:
    """An AVC or anomaly record. ``text`` is everything after its head."""

    event: str
    time: float
    node: str | None
    type: str
    text: str


Item = t.Union[Logged, Boot, Mark, Alert, KernelOpen]


# The code asks for it several times for each record.
@functools.lru_cache(maxsize=256)
def serial_of(event: str) -> int:
    """Return the number that the kernel gave to an event, or 0 if the log does not have it.

    The number grows from each boot on.
    """
    return int(event.rpartition(":")[2])
