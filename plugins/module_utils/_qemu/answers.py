# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks answers of qemu's monitor. If a guest has taken over its qemu, the answer can be anything. Pure."""

from __future__ import annotations

import typing as t

from .._errors import MonitorError

_Kind = t.TypeVar("_Kind")


def value_of(command: str, answer: t.Any, key: str, kind: type[_Kind]) -> _Kind:
    """Return a value of the answer to a command. Raises :class:`MonitorError` if it is missing or has another type."""
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, kind):
        raise malformed(command, answer)
    return value


def entries_of(listing: t.Any) -> list[tuple[str, str]]:
    """Return the name and the type of each entry of the answer to ``qom-list``. Raises :class:`MonitorError`."""
    if not isinstance(listing, list):
        raise malformed("qom-list", listing)
    return [
        (
            value_of("qom-list", entry, "name", str),
            value_of("qom-list", entry, "type", str),
        )
        for entry in listing
    ]


def cards_of(listing: t.Any) -> int:
    """Return the number of cards on a bus from the answer to ``qom-list``. Raises :class:`MonitorError`."""
    return sum(name.startswith("child[") for name, _kind in entries_of(listing))


def malformed(command: str, answer: t.Any) -> MonitorError:
    """Return the error for an answer that no qemu gives."""
    return MonitorError(
        f"qemu answered {command} with {str(answer)[:100]!r}, which no qemu does: another program serves this monitor, or "
        "somebody has changed this qemu"
    )
