# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of each host that the files of a directory have."""

from __future__ import annotations

import json
import typing as t

from .chain import (
    Checked,
)
from .ledger import Event, Events, parse_event
from .line import Document
from .regular import open_regular


class Written(t.NamedTuple):
    """What a file says about a record."""

    event: Event
    run: str
    file: str
    user: str | None
    vm: str | None
    mac: str | None


class Holdings:
    """The events that the files have, in 16 bytes each. If more of a line is needed, the file is read again."""

    def __init__(self, files: t.Sequence[Checked]) -> None:
        self._files = files
        self.hosts: dict[str, Events] = {}
        self.runs: set[str] = set()
        for each in files:
            if each.run is not None:
                self.runs.add(each.run)
            for document in _records(each):
                event = _event(document)
                if event is not None:
                    host = str(document["host"]["name"])
                    self.hosts.setdefault(host, Events()).add(event)

    def details(
        self, wanted: t.Mapping[str, t.AbstractSet[Event]]
    ) -> dict[str, list[Written]]:
        """Return what the files say about these events, by host."""
        found: dict[str, list[Written]] = {}
        for each in self._files if wanted else ():
            for document in _records(each):
                host, event = str(document["host"]["name"]), _event(document)
                if event is not None and event in wanted.get(host, ()):
                    written = _written(each, document, event)
                    found.setdefault(host, []).append(written)
        return found


def _records(file: Checked) -> t.Iterator[Document]:
    """Return the records' lines of a file, up to the first line that is wrong."""
    if not file.lines:
        return
    with open(open_regular(file.path), "rb") as handle:
        for number, line in enumerate(handle, 1):
            if number > file.lines:
                return
            if b'"event":{"kind":"event"' in line:
                document = json.loads(line)
                if document["event"]["kind"] == "event":
                    yield document


def _event(document: Document) -> Event | None:
    event = document["event"].get("id")
    return parse_event(event) if isinstance(event, str) else None


def _written(file: Checked, document: Document, event: Event) -> Written:
    ours = document["virtaudit"]
    return Written(
        event=event,
        run=str(file.run),
        file=file.name,
        user=_text(document.get("user"), "name") or ours["controller"]["user"],
        vm=_text(ours.get("vm"), "name"),
        mac=_text(ours, "mac"),
    )


def _text(holder: t.Any, name: str) -> str | None:
    """Return a text, or ``None`` if there is none. Anybody can write a line of another form with a right hash."""
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, str) else None
