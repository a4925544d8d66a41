# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes the answers of a run, and makes the lines of the trail and the figures of the summary from them."""

from __future__ import annotations

import json
import typing as t

from .earlier import Earlier
from .ledger import Event, Machine, parse_event
from .line import (
    Document,
)
from .lines import Gap, Lines
from .records import (
    Record,
    question,
    read_findings,
    read_records,
    sent_records,
)
from .results import ASYNC_STATUS, AUDIT_INFO, Answer, Task
from .summary import Summary

_HIDDEN = "no_log hides the result, and with it the records; vm_net_audit_info can read them back"
_UNREAD = "no_log hides the findings and the records that were read back; the callback compares nothing with them"
_UNREACHABLE = "the host was unreachable; if the task wrote records before that, only the host's log has them"
_NO_ANSWER = "the task failed and returned no records; if it wrote any, only the host's log has them"


class Collector:
    """Keeps what the run has shown so far. It grows by 32 bytes for each record, and with each problem.

    Each method returns the lines to write.
    """

    def __init__(self, lines: Lines, summary: Summary) -> None:
        self.play: str | None = None
        self.machines: dict[str, Machine] = {}
        self.earlier: Earlier | None = None
        self._lines, self._summary = lines, summary
        # How many items of a loop have come before the result of the whole loop.
        self._items: dict[tuple[str, str], int] = {}
        # The task of ours that began each background job.
        self._jobs: dict[tuple[str, str], Task] = {}

    def item(self, answer: Answer) -> list[Document]:
        """Take one item of a loop."""
        self._count(answer)
        return self._take(answer.task, answer.data)

    def attempt(self, answer: Answer) -> list[Document]:
        """Take an attempt that Ansible will repeat. No later result has its records."""
        return self._take(answer.task, answer.data)

    def whole(self, answer: Answer) -> list[Document]:
        """Take the result of a task. Of a loop, take only the items that have not come before."""
        task, data = answer.task, answer.data
        seen = self._items.pop(task.key, 0)
        results = data.get("results")
        if not task.loops or not isinstance(results, list):
            hidden_already = seen and "censored" in data
            return [] if hidden_already else self._take(task, data)
        taken: list[Document] = []
        for item in results[seen:]:
            if isinstance(item, dict) and not item.get("skipped"):
                taken += self._take(task, item)
        return taken

    def skipped_item(self, answer: Answer) -> list[Document]:
        """Count an item that did not run."""
        self._count(answer)
        return []

    def skipped(self, answer: Answer) -> list[Document]:
        """Forget a task that did not run."""
        self._items.pop(answer.task.key, None)
        return []

    def uncollected(self) -> list[Document]:
        """Return a line for each background job whose result nobody asked for."""
        taken: list[Document] = []
        for (_machine, job), task in self._jobs.items():
            taken += self._gap(
                task,
                "records_unknown",
                f"nobody collected the result of the background job {job}",
            )
        self._jobs.clear()
        return taken

    def _count(self, answer: Answer) -> None:
        key = answer.task.key
        self._items[key] = self._items.get(key, 0) + 1

    def _take(self, task: Task, data: t.Mapping[str, t.Any]) -> list[Document]:
        try:
            return self._take_data(task, data)
        except Exception as exc:
            # One host's bad answer must not lose the records of the other hosts.
            reason = f"the task's result cannot be read: {type(exc).__name__}: {exc}"
            return self._gap(task, "records_malformed", reason)

    def _take_data(self, task: Task, data: t.Mapping[str, t.Any]) -> list[Document]:
        if task.module == ASYNC_STATUS:
            return self._take_job(task, data)
        if "censored" in data:
            reason = _UNREAD if task.module == AUDIT_INFO else _HIDDEN
            return self._gap(task, "records_hidden", reason)
        if _is_underway(data):
            self._jobs[task.machine, str(data["ansible_job_id"])] = task
            return []
        if task.module == AUDIT_INFO:
            return self._take_log(task, data)
        if data.get("unreachable"):
            return self._gap(task, "records_unknown", _UNREACHABLE)
        return self._take_sent(task, data)

    def _take_job(self, task: Task, data: t.Mapping[str, t.Any]) -> list[Document]:
        """Take the result of a background job that a task of ours began, once."""
        if _is_underway(data):
            return []
        begun = self._jobs.pop((task.machine, str(data.get("ansible_job_id"))), None)
        return [] if begun is None else self._take(begun, data)

    def _take_sent(self, task: Task, data: t.Mapping[str, t.Any]) -> list[Document]:
        found = sent_records(data)
        if found is None:
            return self._gap(task, "records_unknown", _NO_ANSWER)
        records, malformed = found
        machine = self._machine(task)
        returned, fresh = [], []
        for record in records:
            event = _event(record)
            if event is not None and not machine.returned.add(event):
                continue
            returned.append(record)
            uuid, name = record.vm
            if machine.send(uuid or "", name or "", event):
                fresh.append(record)
        self._summary.add_records(task.machine, returned)
        return [
            *self._written(task, fresh),
            *self._malformed(task, malformed, "records"),
        ]

    def _take_log(self, task: Task, data: t.Mapping[str, t.Any]) -> list[Document]:
        return [*self._take_findings(task, data), *self._take_events(task, data)]

    def _take_findings(self, task: Task, data: t.Mapping[str, t.Any]) -> list[Document]:
        findings, malformed = read_findings(data)
        for finding in findings:
            self._summary.add_finding(task.machine, finding)
        lines = [self._lines.finding(task, self.play, finding) for finding in findings]
        return [*lines, *self._malformed(task, malformed, "findings")]

    def _take_events(self, task: Task, data: t.Mapping[str, t.Any]) -> list[Document]:
        found = read_records(data)
        if found is None:
            return []
        records, malformed = found
        machine = self._machine(task)
        read: set[Event] = set()
        fresh = []
        for record in records:
            event = _event(record)
            if event is not None:
                read.add(event)
                if machine.recall(event) and not self._had(task.machine, event):
                    fresh.append(record)
        asked = question(data)
        # If a record has another shape, nobody can say which record it is.
        covered = range(0) if malformed else asked.covered
        machine.look(read, covered, asked.uuids, asked.name)
        return [
            *self._written(task, fresh),
            *self._malformed(task, malformed, "records"),
        ]

    def _had(self, machine: str, event: Event) -> bool:
        """Tell whether the file of an earlier run has this record. An id stands in only one line of a directory."""
        if self.earlier is None:
            return False
        return self.earlier.has(json.dumps(machine).encode("ascii"), event)

    def _written(self, task: Task, records: t.Sequence[Record]) -> list[Document]:
        return [self._lines.record(task, self.play, record) for record in records]

    def _malformed(self, task: Task, count: int, what: str) -> list[Document]:
        if not count:
            return []
        reason = f"{count} {what} in the task's result do not have the form of one"
        return self._gap(task, "records_malformed", reason)

    def _gap(self, task: Task, gap: Gap, reason: str) -> list[Document]:
        self._machine(task).unknown += 1
        self._summary.add_gap(task.machine, task.name, reason)
        return [self._lines.gap(task, self.play, gap, reason)]

    def _machine(self, task: Task) -> Machine:
        return self.machines.setdefault(task.machine, Machine())

    def totals(self) -> dict[str, t.Any]:
        """Return the counts for the closing line."""
        machines = self.machines.items()
        hosts = [machine.result(name) for name, machine in sorted(machines)]
        counts = ("sent", "landed", "missing", "unchecked", "unconfirmed", "unknown")
        return {
            **{count: sum(host[count] for host in hosts) for count in counts},
            "read_back": sum(machine.read_back for _name, machine in machines),
            "hosts": hosts,
        }


def _is_underway(data: t.Mapping[str, t.Any]) -> bool:
    return "ansible_job_id" in data and not data.get("finished")


def _event(record: Record) -> Event | None:
    return None if record.event is None else parse_event(record.event)
