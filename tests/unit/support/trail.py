# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results and trails without Ansible."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.file import (
    TrailFile,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.lines import Lines
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.records import (
    Record,
    sent_records,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.results import (
    ATTACH,
    Answer,
    Task,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.run import Run

MAC = "52:54:00:00:00:01"
UUID = "c1e2f3a4-0001-4000-8000-000000000011"
BEGAN = datetime.datetime(2026, 11, 23, 8, 0, tzinfo=datetime.timezone.utc)
EXAMPLE = {
    "virt": "kvm",
    "resrc": "net",
    "reason": "open",
    "vm": "web01",
    "uuid": UUID,
    "net": MAC,
    "path": "/dev/net/tun",
    "rdev": "0A:C8",
    "dev": "vt525400000001",
    "exe": "/usr/bin/python3.11",
    "hostname": None,
    "addr": "10.0.2.2",
    "terminal": None,
    "res": "success",
}


def an_event(serial: int) -> str:
    return f"1795420505.{serial % 1000:03d}:{serial}"


def an_item(serial: int | None, **fields: str | None) -> dict[str, t.Any]:
    """Return a record in the form of a module's result. Without a serial number it is not confirmed."""
    return {
        "type": "VIRT_RESOURCE",
        "event": None if serial is None else an_event(serial),
        "confirmed": serial is not None,
        "fields": {**EXAMPLE, **fields},
    }


def a_result(*items: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    """Return the result of a task that sent these records."""
    audit = {"mode": "required", "auid": 1000, "ses": 3, "records": list(items)}
    return {"changed": True, "audit": audit, **more}


def a_log(*items: dict[str, t.Any], **asked: t.Any) -> dict[str, t.Any]:
    """Return the result of a task that read these records back."""
    events = [
        {**item, "node": None, "pid": 7, "uid": 0, "auid": 1000, "ses": 3}
        for item in items
    ]
    question = {
        **dict.fromkeys(("name", "uuid", "mac", "since", "until")),
        "own_logs": True,
        "as_of": "2026-11-23T08:00:00.000Z",
    }
    return {
        "events": events,
        "findings": [],
        "asked": {**question, **asked},
        "stats": {"unread": []},
    }


def a_finding(code: str = "stale_grant", **changes: t.Any) -> dict[str, t.Any]:
    """Return a finding in the form of vm_net_audit_info."""
    return {
        "code": code,
        "severity": "medium",
        "message": f"about {code}",
        "events": [an_event(1)],
        "vm": "web01",
        "uuid": UUID,
        "mac": MAC,
        **changes,
    }


def a_task(module: str = ATTACH, machine: str = "hv1", **changes: t.Any) -> Task:
    described = {
        "key": (machine, module),
        "inventory_host": machine,
        "machine": machine,
        "module": module,
        "name": "Task",
        "path": "/play.yml:3",
        "loops": False,
    }
    return Task(**{**described, **changes})


def an_answer(data: dict[str, t.Any], *args: t.Any, **changes: t.Any) -> Answer:
    return Answer(a_task(*args, **changes), data)


def a_record(serial: int | None = 1, **fields: str | None) -> Record:
    found = sent_records(a_result(an_item(serial, **fields)))
    assert found is not None
    return found[0][0]


def a_run(number: int = 1, **changes: t.Any) -> Run:
    values = {
        "id": f"c1e2f3a4-0001-4000-8000-{number:012x}",
        "began": BEGAN + datetime.timedelta(seconds=number),
        "playbook": "/play.yml",
        "revision": "0" * 40,
        "user": "ops",
        "auid": 1000,
        "controller": "ctl",
    }
    return Run(**{**values, **changes})


def write_trail(
    directory: Path, number: int = 1, records: int = 3, end: bool = True
) -> Path:
    """Write a whole trail."""
    run = a_run(number)
    lines = Lines(run)
    file = TrailFile(str(directory), run.id, run.began)
    file.append([lines.opening()])
    file.append(
        [lines.record(a_task(), "Play", a_record(each)) for each in range(records)]
    )
    summary = {
        "records": records,
        "unwritten": 0,
        "head": file.head,
        "previous_run": file.previous,
    }
    file.close(lines.closing({**summary, "hosts": []}, None) if end else None)
    return Path(file.path)
