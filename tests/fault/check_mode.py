# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares check mode with the real run in one situation.

Check mode must say what the run does, and must change nothing.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import uuid as uuidlib
from pathlib import Path
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import host, runner, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import EVERY_MAC, detach
from ansible_collections.virtaudit.qemu.tests.fault.situations import Situation
from ansible_collections.virtaudit.qemu.tests.support.warning_texts import (
    warning_texts,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """The result of check mode and the result of the real run in one situation."""

    situation: str
    said: str
    done: str
    agree: bool


def attempt(situation: Situation, rows: list[Row]) -> tuple[runner.Result, list[str]]:
    """Make a situation, and run its task in check mode and then for real. Add a row, and return the violations."""
    uuid, second = str(uuidlib.uuid4()), str(uuidlib.uuid4())
    uuids = [uuid, second]
    try:
        situation.leave(*uuids)
        name, arguments = situation.task(uuid)
        before = _state(uuids)
        said = runner.run_module(name, {**arguments, "_ansible_check_mode": True})
        problems = _differences("check mode changed", before, _state(uuids))
        records = len(witness.records(uuid) + witness.records(second))
        done = runner.run_module(name, arguments)
        written = len(witness.records(uuid) + witness.records(second)) - records
    finally:
        ends = [
            runner.run_module(*detach(uuid, stop_vm="destroy")),
            runner.run_module(*detach(second, stop_vm="destroy")),
        ]
        left = [
            f"at the end: {text}"
            for each in uuids
            for text in witness.violations(each, EVERY_MAC, [], False)
        ]
        for each in uuids:
            host.sweep(each, EVERY_MAC)
    problems += [
        f"the VM cannot be stopped: {end.get('msg', 'no result')}"
        for end in ends
        if end.get("failed", not end)
    ]
    foreseen, did = _essence(said), _essence(done)
    differences = _differences("check mode and the run differ in", foreseen, did)
    if bool(written) and not done.get("changed"):
        differences.append(f"the run wrote {written} records and is not changed")
    rows.append(Row(situation.name, _words(foreseen), _words(did), not differences))
    return done, [*problems, *differences, *left]


def table(rows: list[Row]) -> str:
    """Return the rows in columns, and a closing line."""
    lines = [
        f"  {row.situation:<18} {'same' if row.agree else 'OTHER'}  said: {row.said}"
        + ("" if row.agree else f"\n  {'':<25} did:  {row.done}")
        for row in rows
    ]
    agreed = sum(row.agree for row in rows)
    lines.append(f"check mode predicted the run in {agreed} of {len(rows)} situations")
    return "\n".join(lines)


def _essence(result: runner.Result) -> dict[str, Any]:
    """Return the parts of a result that say what the task does, without the kernel's numbers and without wording."""
    warnings = warning_texts(result)
    return {
        "failed": result.get("msg") if result.get("failed", not result) else None,
        "changed": result.get("changed"),
        "started": result.get("vm", {}).get("started"),
        "interfaces": [
            (nic["mac"], nic["action"], nic.get("pending"))
            for nic in result.get("interfaces", [])
        ],
        # The rest of a warning says what the task does about it, and that differs between check mode and
        # the run.
        "warnings": [text.partition("; ")[0] for text in warnings],
    }


def _words(essence: dict[str, Any]) -> str:
    actions = [action for _mac, action, _pending in essence["interfaces"]]
    words = ["changed" if essence["changed"] else "unchanged", *actions]
    words += [] if essence["failed"] is None else [f"failed: {essence['failed']}"]
    return "; ".join([" ".join(words), *essence["warnings"]])


def _differences(what: str, first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    return [
        f"{what} {key}: {first.get(key)} and {second.get(key)}"
        for key in sorted({*first, *second})
        if first.get(key) != second.get(key)
    ]


def _state(uuids: list[str]) -> dict[str, Any]:
    """Return the state of the host that check mode must not change."""
    links = subprocess.run(
        ["ip", "-j", "link"], capture_output=True, text=True, check=True
    ).stdout
    state: dict[str, Any] = {
        # When the other end of a link changes, the carrier of the link follows a moment later.
        "links": {
            link["ifname"]: (link["address"], link.get("master"), "UP" in link["flags"])
            for link in json.loads(links)
        }
    }
    for uuid in uuids:
        notes = Path(host.STATE, uuid)
        pids = witness.qemus(uuid)
        state[f"records of {uuid}"] = len(witness.records(uuid))
        state[f"processes of {uuid}"] = pids
        state[f"devices of {uuid}"] = [witness.held(pid) for pid in pids]
        state[f"running of {uuid}"] = witness.going(uuid)
        state[f"notes of {uuid}"] = {
            each.name: each.read_bytes()
            for each in (notes.iterdir() if notes.is_dir() else ())
            if each.is_file()
        }
    return state
