# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trail of one run: what it collects, and the file that it writes."""

from __future__ import annotations

import os

from .collector import Collector
from .directory import TrailError
from .earlier import Earlier
from .file import TrailFile
from .heads import Head
from .line import (
    Document,
)
from .lines import Lines
from .run import Run, Told
from .summary import Styled, Summary


class Trail:
    """Collects the records of a run and writes them.

    If it cannot write, it goes on collecting. Then ``failure`` says why, and ``unwritten`` counts the lost lines.
    """

    def __init__(
        self, playbook: str | None, rows: int, told: Told | None = None
    ) -> None:
        self.failure: str | None = None
        self.unwritten = 0
        self.records = 0
        self._run = Run.begin(playbook, told)
        self._lines = Lines(self._run)
        self._summary = Summary(rows)
        self.collector = Collector(self._lines, self._summary)
        self._file: TrailFile | None = None

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._run.id

    def open(self, directory: str, group: str | None = None) -> None:
        """Make the file. Raises :class:`TrailError`, and then nothing is written."""
        try:
            run = self._run
            self._file = TrailFile(directory, run.id, run.began, group)
            self._file.append([self._lines.opening()])
            own = os.path.basename(self._file.path)
            self.collector.earlier = Earlier.of(directory, own)
        except TrailError as exc:
            self.failure = str(exc)
            raise

    def write(self, documents: list[Document]) -> None:
        """Append lines. Raises :class:`TrailError`, once."""
        if self._file is None or self.failure is not None:
            self.unwritten += len(documents)
            return
        begin = self._file.lines
        try:
            self._file.append(documents)
        except TrailError as exc:
            self.failure = str(exc)
            raise
        finally:
            written = self._file.lines - begin
            self.unwritten += len(documents) - written
            kinds = [document["event"]["kind"] for document in documents[:written]]
            self.records += kinds.count("event")

    def sync(self) -> None:
        """Make sure that what is written is on the disk. Raises :class:`TrailError`, once."""
        if self._file is None or self.failure is not None:
            return
        try:
            self._file.sync()
        except TrailError as exc:
            self.failure = str(exc)
            raise

    def head(self) -> Head | None:
        """Return how the file ends, or ``None`` if there is no file."""
        if self._file is None or not self._file.lines:
            return None
        path = os.path.realpath(self._file.path)
        return Head(self._file.lines, self._file.head, self._run.id, path)

    def close(self, broken_off: str | None = None) -> None:
        """Write what is left and the closing line, also if something before them could not be written.

        ``broken_off`` says what ended the run early. Raises :class:`TrailError`.
        """
        try:
            self.write(self.collector.uncollected())
        finally:
            if self.collector.earlier is not None:
                self.collector.earlier.close()
                self.collector.earlier = None
            totals = self.collector.totals()
            for host in totals["hosts"]:
                if host["missing"]:
                    self._summary.add_missing(host)
            if self._file is not None:
                # A file without its first line is no trail. For the last line there may be room again.
                summary = {
                    "records": self.records,
                    "unwritten": self.unwritten,
                    "head": self._file.head,
                    "previous_run": self._file.previous,
                    **totals,
                }
                closing = self._lines.closing(summary, self.failure, broken_off)
                self._file.close(closing if self._file.lines else None)

    def problems(self) -> list[Styled]:
        """Return what is wrong, for the end of the run."""
        found = self._summary.problems()
        if self.failure is not None:
            lost = f"THE AUDIT TRAIL IS NOT WHOLE: {self.unwritten} lines are not in it. {self.failure}"
            found = [*found, (lost, "bad")]
        return found

    def table(self, width: int | None) -> list[Styled]:
        """Return who was granted what."""
        return self._summary.table(width)

    def counts(self) -> list[Styled]:
        """Return the counts, the file and its head. A person can keep the head elsewhere, to prove the file later."""
        totals = self.collector.totals()
        words = ("sent", "landed", "missing", "unchecked")
        figures = ", ".join(f"{totals[word]} {word}" for word in words)
        lines: list[Styled] = [
            (
                f"{self.records} records of {len(totals['hosts'])} hosts in the trail; {figures}",
                "bad" if totals["missing"] else "plain",
            )
        ]
        if self._file is not None:
            lines.append((self._file.path, "plain"))
            lines.append((f"head {self._file.head}", "plain"))
        return lines
