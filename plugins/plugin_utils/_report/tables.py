# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The data of a report as JSON and CSV, written host by host."""

from __future__ import annotations

import csv
import json
import shutil
import typing as t
from pathlib import Path

from .answer import Data

SECTIONS = ("hosts", "silent", "findings", "grants", "sessions", "history")
_GRANT = (
    *("host", "vm", "uuid", "mac", "source", "vlan", "filter", "isolated", "link"),
    *("since", "auid", "ses", "exe", "ticket", "event", "devices", "live", "new"),
)
HISTORY = (
    *("host", "vm", "uuid", "mac", "source", "vlan", "filter", "isolated", "link"),
    *("ifname", "since", "until", "auid", "ticket", "event", "end_event"),
)
_FINDING = (
    *("id", "severity", "code", "host", "vm", "uuid", "mac", "dev", "path", "exe"),
    *("pid", "auid", "time", "message", "events", "new", "known"),
)
CSV = {
    "grants.csv": ("grants", _GRANT),
    "history.csv": ("history", HISTORY),
    "findings.csv": ("findings", _FINDING),
}
# A spreadsheet takes a cell that begins so for a formula, and anybody can name a VM.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Tables:
    """The open files of a report, in a directory that nobody else uses.

    Each section of the JSON document is a file of its own until all hosts are read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sections = {
            name: _create(directory / f"{name}.part") for name in SECTIONS
        }
        self._count = dict.fromkeys(SECTIONS, 0)
        self._tables = {}
        self._files = []
        for name, (section, columns) in CSV.items():
            handle = _create(directory / name)
            self._files.append(handle)
            writer = csv_writer(handle)
            writer.writerow(columns)
            self._tables[section] = (columns, writer)

    def add(self, section: str, item: Data) -> None:
        """Write one item."""
        handle = self._sections[section]
        handle.write(",\n" if self._count[section] else "\n")
        handle.write(json.dumps(item))
        self._count[section] += 1
        if section in self._tables:
            columns, writer = self._tables[section]
            writer.writerow(row_of(item, columns))

    def finish(self, head: Data) -> None:
        """Put the JSON document together: ``head`` first, then the sections."""
        for handle in (*self._files, *self._sections.values()):
            handle.close()
        with _create(self._directory / "audit_report.json") as out:
            # The time comes first, because the next report looks for it there.
            out.write(json.dumps(head)[:-1])
            for name in SECTIONS:
                part = self._directory / f"{name}.part"
                out.write(f',\n"{name}": [')
                with part.open(encoding="utf-8") as handle:
                    shutil.copyfileobj(handle, out)
                out.write("\n]" if self._count[name] else "]")
                part.unlink()
            out.write("\n}\n")

    def close(self) -> None:
        """Close all files."""
        for handle in (*self._files, *self._sections.values()):
            handle.close()


class _Newlines:
    """Ends each row with a newline alone, as other programs of Unix do."""

    def __init__(self, out: t.TextIO) -> None:
        self._out = out

    def write(self, row: str) -> int:
        """Write a row, which ends with a carriage return and a newline."""
        return self._out.write(row[:-2] + "\n")


def csv_writer(out: t.TextIO) -> t.Any:
    """Return a writer of rows. It quotes a cell with a carriage return too, because many programs take that for the end of a row.

    Older versions of Python quote only the characters of their own line ends.
    """
    return csv.writer(_Newlines(out), lineterminator="\r\n")


def row_of(item: Data, columns: t.Iterable[str]) -> list[str]:
    """Return the cells of an item. Values of its network count as its own."""
    network = item.get("network") or {}
    return [_cell(item.get(name, network.get(name))) for name in columns]


def _create(path: Path) -> t.TextIO:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def _cell(value: t.Any) -> str:
    """Return a value as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = "; ".join(
            device_text(each) if isinstance(each, dict) else str(each) for each in value
        )
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def device_text(device: Data) -> str:
    """Return a device as one text: its path, its interface and its descriptor in qemu."""
    words = [device["path"] or "?"]
    if device.get("dev"):
        words.append(device["dev"])
    if device.get("fd") is not None:
        words.append(f"fd {device['fd']}")
    return " ".join(words)
