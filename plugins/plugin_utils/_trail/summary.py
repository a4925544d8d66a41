# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table at the end of a run: what is wrong, and below that who was granted what."""

from __future__ import annotations

import typing as t
import unicodedata

from .printable import printable
from .records import Finding, Record, Severity

Style = t.Literal["plain", "warn", "bad"]
Styled = tuple[str, Style]

_GAP = "  "
# A name that is cut to this number of columns can still be told from others.
_LEAST = 12
# The table does not leave out what is wrong to save room. But a broken fleet must not flood the terminal.
_PROBLEMS = 50
_EVENTS = 10
# The worst comes first. A host with missing records is always named.
_MISSING, _BAD, _MEDIUM, _LOW = range(4)
_RANKS: dict[Severity, int] = {"high": _BAD, "medium": _MEDIUM, "low": _LOW}
# The table shows this number of columns of a network and of a ticket. The trail has all of it.
_NETWORK = 60
_TICKET = 32
_HAND_OVERS = ("start", "attach", "update", "detach")
_BEFORE = ("open", "prepare")


class Row(t.NamedTuple):
    """A hand-over, a change or a detach, or what failed before it. ``network`` and ``ticket`` may be empty."""

    host: str
    vm: str
    mac: str
    device: str
    network: str
    action: str
    result: str
    event: str
    ticket: str


_HEADER = Row(*(name.upper() for name in Row._fields))
# A column of these is left out if no row has something in it.
_OPTIONAL = ("network", "ticket")


class Summary:
    """Keeps a number of rows, the failed ones first, and counts the rest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._good: list[Row] = []
        self._bad: list[Row] = []
        self._left_out = 0
        self._problems: list[list[Styled]] = [[] for _rank in range(4)]
        self._count = 0

    def add_records(self, host: str, records: t.Sequence[Record]) -> None:
        """Take the records of one result."""
        devices: dict[str | None, str] = {}
        for record in records:
            if dev := record.fields.get("dev"):
                devices[record.mac] = dev
        for record in records:
            fields = record.fields
            reason, failed = fields.get("reason"), fields.get("res") != "success"
            if record.type != "VIRT_RESOURCE" or (
                reason not in _HAND_OVERS and not (reason in _BEFORE and failed)
            ):
                continue
            bad = failed or not record.confirmed
            rows = self._bad if bad else self._good
            if len(rows) >= self._limit:
                self._left_out += 1
                continue
            device = fields.get("path") or devices.get(record.mac)
            row = Row(
                host=printable(host),
                vm=printable(fields.get("vm") or "?"),
                mac=printable(record.mac or "?"),
                device=printable(device or "?"),
                network=_cut(printable(_network_of(record)), _NETWORK),
                action=printable(reason or "?"),
                result=printable(fields.get("res") or "?"),
                event=record.event or "not confirmed",
                ticket=_cut(printable(record.ticket or ""), _TICKET),
            )
            rows.append(row)

    def add_finding(self, host: str, finding: Finding) -> None:
        """Take what vm_net_audit_info found."""
        text = f"{host}: {finding.code}: {finding.message}"
        self._complain(text, _RANKS[finding.severity])

    def add_gap(self, host: str, task: str, reason: str) -> None:
        """Take a task whose records are not known."""
        self._complain(f"{host}: {task}: {reason}", _BAD)

    def add_missing(self, host: t.Mapping[str, t.Any]) -> None:
        """Take the counts of a host that lost records."""
        named = host["missing_events"][:_EVENTS]
        events = ", ".join(named) + (", ..." if host["missing"] > len(named) else "")
        self._complain(
            f"{host['name']}: {host['missing']} of {host['sent']} records that were sent are not in its log: {events}",
            _MISSING,
        )

    def _complain(self, text: str, rank: int) -> None:
        kept = self._problems[rank]
        self._count += 1
        if rank == _MISSING or len(kept) < _PROBLEMS:
            kept.append((printable(text), "warn" if rank == _LOW else "bad"))

    def problems(self) -> list[Styled]:
        """Return what is wrong."""
        found = [each for kept in self._problems for each in kept]
        found = found[: max(_PROBLEMS, len(self._problems[_MISSING]))]
        left_out = self._count - len(found)
        if left_out:
            found.append((f"... and {left_out} more, all in the trail", "bad"))
        return found

    def table(self, width: int | None) -> list[Styled]:
        """Return the table. It is at most ``width`` columns wide, if a width is given."""
        good = self._good[: max(0, self._limit - len(self._bad))]
        rows: list[tuple[Row, Style]] = [(row, "bad") for row in self._bad]
        rows += [(row, "plain") for row in good]
        if not rows:
            return []
        left_out = self._left_out + len(self._good) - len(good)
        lines = _one_line_each(rows)
        if (
            width is not None
            and max(columns_of(text) for text, _style in lines) > width
        ):
            lines = _some_lines_each(rows, width)
        if left_out:
            lines.append((f"... and {left_out} more, all in the trail", "plain"))
        return lines


def _network_of(record: Record) -> str:
    """Return what a record says about a NIC's network. For a change, return the old and the new one."""
    fields = record.fields
    changed = [key[4:] for key in fields if key.startswith("old-") and key != "old-net"]
    if changed:
        return " ".join(
            f"{name}: {fields[f'old-{name}'] or 'none'} -> {fields.get(f'new-{name}') or 'none'}"
            for name in changed
        )
    network = dict(record.network or {})
    said = [network.pop("source", None)]
    said += [f"{name}={value}" for name, value in network.items() if value]
    return " ".join(text for text in said if text)


def _one_line_each(rows: t.Sequence[tuple[Row, Style]]) -> list[Styled]:
    empty = [
        name
        for name in _OPTIONAL
        if not any(getattr(row, name) for row, _style in rows)
    ]
    styled: list[tuple[list[str], Style]] = [
        ([text for name, text in zip(Row._fields, row) if name not in empty], style)
        for row, style in ((_HEADER, "plain"), *rows)
    ]
    widths = [
        max(map(columns_of, cells))
        for cells in zip(*(cells for cells, _style in styled))
    ]
    return [
        (_GAP.join(map(_pad, cells, widths)).rstrip(), style) for cells, style in styled
    ]


def _some_lines_each(rows: t.Sequence[tuple[Row, Style]], width: int) -> list[Styled]:
    """Return several lines for each row, for a narrow screen: the NIC, then what happened, then its network and ticket."""
    lines: list[Styled] = []
    last = any(row.network or row.ticket for row, _style in rows)
    for row, style in ((_HEADER, "plain"), *rows):
        below = [_GAP + _pad(row.action, 6), _pad(row.result, 7), row.device, row.event]
        lines.append((_fit([row.host, row.vm, row.mac], (1, 0), width), style))
        lines.append((_fit(below, (2,), width), style))
        if last and (row.network or row.ticket):
            cells = [text for text in (row.network, row.ticket) if text]
            lines.append((_fit([_GAP + cells[0], *cells[1:]], (0,), width), style))
    return lines


def _fit(cells: list[str], names: t.Sequence[int], width: int) -> str:
    """Join cells. If they are too wide together, cut those of ``names`` in this order, because a name can have any length."""
    # Cut a cell down to nothing only if there is no other way.
    for least in (_LEAST, 1):
        for index in names:
            over = columns_of(_GAP.join(cells)) - width
            if over > 0:
                kept = max(least, columns_of(cells[index]) - over)
                cells[index] = _cut(cells[index], kept)
    return _cut(_GAP.join(cells), width)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - columns_of(text))


def _cut(text: str, width: int) -> str:
    if columns_of(text) <= width:
        return text
    kept = ""
    for character in text:
        if columns_of(kept + character) >= width:
            break
        kept += character
    return kept + "…"


def wrapped(lines: t.Iterable[Styled], width: int | None) -> list[Styled]:
    """Break lines that are too wide between words, and indent the rest."""
    if width is None:
        return list(lines)
    # The last column stays free, because some terminals go to the next line after it.
    width = max(20, width - 1)
    return [(part, style) for text, style in lines for part in _wrap(text, width)]


def _wrap(text: str, width: int) -> list[str]:
    # textwrap counts characters, and some characters take two columns.
    parts: list[str] = []
    line = ""
    for word in text.split():
        if line and columns_of(line) + 1 + columns_of(word) > width:
            parts.append(line)
            line = _GAP + word
        else:
            line = f"{line} {word}" if line else word
    return [*parts, line]


def columns_of(text: str) -> int:
    """Return the number of columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        (
            0
            if unicodedata.combining(each)
            else 1 + (unicodedata.east_asian_width(each) in "WF")
        )
        for each in text
    )
