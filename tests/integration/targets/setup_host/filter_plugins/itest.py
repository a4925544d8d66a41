# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the result of a module with the result of the witness. Each filter returns a list of differences."""

from __future__ import annotations

import re
import typing as t

Value = dict[str, t.Any]


def _records(result: Value, seen: Value, since: int) -> list[str]:
    """Check that the result has exactly the records of the audit log, in order."""
    wanted = result["vm"]["uuid"]
    mine = result["audit"]["records"]
    logged = [
        record
        for record in seen["records"][since:]
        if record["fields"]["uuid"] == wanted
    ]
    problems = []
    if len(mine) != len(logged):
        problems.append(f"{len(mine)} records returned, {len(logged)} in the log")
    for returned, record in zip(mine, logged):
        if not returned["confirmed"]:
            problems.append(f"not confirmed: {returned}")
        for key in ("type", "event", "fields"):
            if returned[key] != record[key]:
                problems.append(
                    f"{key} is {returned[key]}, in the log it is {record[key]}"
                )
        if str(result["audit"]["auid"]) != record["auid"]:
            problems.append(f"auid is {result['audit']['auid']}, not {record['auid']}")
        if record["fields"]["vm"] != result["vm"]["name"]:
            problems.append(f"the record names {record['fields']['vm']}")
    return problems


def _find(records: list[Value], wanted: str, **fields: str) -> list[Value]:
    return [
        record
        for record in records
        if record["fields"]["uuid"] == wanted
        and all(record["fields"].get(key) == value for key, value in fields.items())
    ]


def _bare(device: Value) -> Value:
    return {key: device[key] for key in ("path", "rdev", "dev", "fd")}


def attached_otherwise(result: Value, seen: Value, since: int = 0) -> list[str]:
    """Check after an attach that the result, the records and /proc have the same fds."""
    wanted = result["vm"]["uuid"]
    problems = _records(result, seen, since)
    vm = seen["vms"].get(wanted)
    if vm is None:
        return [*problems, "qemu does not run"]
    if vm["pid"] != result["vm"]["pid"]:
        problems.append(f"pid is {result['vm']['pid']}, in /proc {vm['pid']}")
    for nic in result["interfaces"]:
        mac = nic["mac"]
        devices = nic["devices"]
        fds = [device["fd"] for device in devices]
        in_proc = {device["fd"]: device for device in vm["devices"]}
        queues = [device for device in vm["devices"] if device["dev"] == nic["ifname"]]
        if len(queues) != nic["queues"]:
            problems.append(f"{mac}: {nic['queues']} queues, in /proc {queues}")
        for device in devices:
            found = dict(in_proc.get(device["fd"], {}))
            # /proc does not tell which interface vhost-net serves.
            if device["path"] == "/dev/vhost-net":
                found["dev"] = device["dev"]
            if found != _bare(device):
                problems.append(f"{mac}: {device}, in /proc {found}")
        grants = [
            record
            for reason in ("start", "attach")
            for record in _find(
                seen["records"],
                wanted,
                **{"reason": reason, "new-net": mac, "res": "success"},
            )
        ]
        if not grants or grants[-1]["fields"]["fds"] != ",".join(map(str, fds)):
            problems.append(f"{mac}: fds {fds}, recorded {grants[-1:]}")
        opens = _find(seen["records"], wanted, reason="open", net=mac, res="success")
        opens = opens[len(opens) - len(devices) :]
        for device, record in zip(devices, opens):
            recorded = {key: record["fields"][key] for key in ("path", "rdev", "dev")}
            recorded.update({"fd": device["fd"], "event": record["event"]})
            if device != recorded:
                problems.append(f"{mac}: {device}, its open on record {recorded}")
        if len(opens) != len(devices):
            problems.append(f"{mac}: {len(devices)} devices, {len(opens)} opens")
    return problems


def detached_otherwise(result: Value, seen: Value, since: int = 0) -> list[str]:
    """Check after a detach that each released device was open, is closed in /proc, and has both on record."""
    wanted = result["vm"]["uuid"]
    problems = _records(result, seen, since)
    in_proc = seen["vms"].get(wanted, {}).get("devices", [])
    recent = seen["records"][since:]
    for nic in result["interfaces"]:
        mac = nic["mac"]
        closes = _find(recent, wanted, reason="close", net=mac, res="success")
        recorded = [
            {
                **{key: record["fields"][key] for key in ("path", "rdev", "dev")},
                "fd": int(record["fields"]["fd"]),
            }
            for record in closes
        ]
        if recorded != [_bare(device) for device in nic["released"]]:
            problems.append(
                f"{mac}: released {nic['released']}, closes on record {recorded}"
            )
        known = {record["event"]: record["fields"] for record in seen["records"]}
        for device in nic["released"]:
            fields = known.get(device["event"], {})
            if (fields.get("reason"), fields.get("net")) != ("open", mac):
                problems.append(f"{mac}: {device['event']} is no open of it")
            if any(item["dev"] == device["dev"] for item in in_proc):
                problems.append(f"{mac}: qemu still holds {device}")
        done = nic["action"] in ("detached", "revoked")
        good = [
            record["fields"]["res"]
            for record in recent
            if record["fields"]["uuid"] == wanted
            and record["fields"].get("reason") == "detach"
            and record["fields"]["old-net"] == mac
        ]
        expected = (
            ["success"]
            if done and nic["released"]
            else ["failed"] if nic["action"] == "pending" else []
        )
        if good != expected:
            problems.append(f"{mac}: {nic['action']}, detaches on record {good}")
    return problems


def story(records: list[Value], wanted: str | None = None) -> list[str]:
    """Return each record in a few words, such as ``open 52:54:... success``."""
    words = []
    for record in records:
        fields = record["fields"]
        if wanted is not None and fields["uuid"] != wanted:
            continue
        net = fields.get("net") or fields.get("new-net") or fields.get("old-net")
        what = {
            "VIRT_MACHINE_ID": "machine_id",
            "VIRT_CONTROL": f"{fields.get('op')}={fields.get('reason')}",
        }.get(record["type"], f"{fields.get('reason')} {net}")
        words.append(f"{what} {fields['res']}")
    return words


def open_records(records: list[Value]) -> list[str]:
    """Return each record of an open, as ``/dev/net/tun success``."""
    return [
        f"{record['fields']['path']} {record['fields']['res']}"
        for record in records
        if record["fields"].get("reason") == "open"
    ]


def said_otherwise(results: list[Value], item: str = "item") -> list[str]:
    """Return the messages of a loop's results that do not match the item's ``message``."""
    return [
        f"{result[item]}: {result.get('msg', 'no message')}"
        for result in results
        if not re.search(result[item]["message"], result.get("msg", ""))
    ]


def audit_lines(content: str) -> list[Value]:
    """Read a piece of an audit log: each record's type, and the text between its single quotes."""
    found = re.findall(
        r"^(?:node=\S+ )?type=(\w+) msg=audit\(\S+ .*?msg='([^']*)'", content, re.M
    )
    return [{"type": kind, "text": text} for kind, text in found]


def without(items: list[Value], *keys: str) -> list[Value]:
    """Return the items without these keys."""
    return [
        {key: value for key, value in item.items() if key not in keys} for item in items
    ]


def replaced(text: str, changes: dict[str, str]) -> str:
    """Replace each regular expression once. Each must match."""
    for pattern, value in changes.items():
        # A backslash or a group in the value has no special meaning.
        text, count = re.subn(pattern, value.replace("\\", r"\\"), text, count=1)
        if not count:
            raise ValueError(f"{pattern!r} is not in {text!r}")
    return text


def concerning(findings: list[Value], run: str, macs: str) -> list[Value]:
    """Return the findings about this run, without those about other VMs and users of this machine."""
    links = ("itest-", f"vt{macs.replace(':', '')}")
    return [
        item
        for item in findings
        if run in (item["uuid"] or "")
        or (item["uuid"] is None and (item["dev"] or "").startswith(links))
    ]


class FilterModule:
    """The class by which Ansible finds the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "attached_otherwise": attached_otherwise,
            "detached_otherwise": detached_otherwise,
            "concerning": concerning,
            "open_records": open_records,
            "story": story,
            "said_otherwise": said_otherwise,
            "audit_lines": audit_lines,
            "without": without,
            "replaced": replaced,
        }
