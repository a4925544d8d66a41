# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the output of ``grep(1)`` over several rotated files.

Its lines name their files, and the newest file comes first.
"""

from __future__ import annotations

import re
import typing as t

from .items import Item
from .rotations import place_of
from .scan import Line

_NAME = re.compile(
    rb"([^\s:'\"=<>{/.]*[/.][^\s:'\"=]*?)[:-](?:\d+[:-])?(?:node=\S+ )?type="
)

Read = t.Callable[[Line], t.Iterable[Item]]


def names_files(head: bytes) -> bool:
    """Tell whether the lines at the beginning of a log name the files that they come from."""
    return _NAME.match(head) is not None


def in_order_of_files(lines: t.Iterable[Line], read: Read) -> t.Iterator[Item]:
    """Yield the records in ``lines``, with those of the oldest file first. ``read`` reads a line."""
    files: dict[bytes, list[Item]] = {}
    name = b""
    for line in lines:
        match = _NAME.match(line.text)
        name = match[1] if match is not None else name
        files.setdefault(name, []).extend(read(line))

    places = {each: place_of(each.decode("utf-8", "surrogateescape")) for each in files}
    # The first record of each log, with all its files.
    begins: dict[str, float] = {}
    for each, items in files.items():
        base, time = places[each][0], items[0].time if items else None
        if time is not None:
            begins[base] = min(time, begins.get(base, time))

    def age(name: bytes) -> tuple[float, int, str]:
        base, number, date = places[name]
        return (begins.get(base, 0.0), number, date)

    for name in sorted(files, key=age):
        yield from files[name]
