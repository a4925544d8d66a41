# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes answers of vm_net_audit_info like those of a host with many VMs, for tests of the report."""

from __future__ import annotations

import typing as t

from ansible_collections.virtaudit.qemu.plugins.module_utils._time import iso

# When the VMs were started, in seconds since the epoch.
BEGAN = 1795420000.0
Data = dict[str, t.Any]


def answer(host: int, vms: int, findings: int = 0) -> Data:
    """Return a host's answer.

    It has VMs with one NIC each, each of which was started once before, and opens that nobody recorded.
    """
    grants, sessions, history = [], [], []
    for number in range(vms):
        grant = make_grant(host, number)
        grants.append(grant)
        for past in (True, False):
            sessions.append(_session(grant, past))
            history.append(_held(grant, past))
    return {
        "changed": False,
        "grants": grants,
        "sessions": sessions,
        "history": history,
        "findings": [unrecorded(number) for number in range(findings)],
        "stats": {
            "files": ["/var/log/audit/audit.log"],
            "unread": [],
            "bytes": 5_000_000,
            "records": 900,
            "elapsed": 0.1,
        },
        "verified": True,
    }


def make_grant(host: int, number: int, **other: t.Any) -> Data:
    """Return the grant of a VM's NIC. The same numbers give the same VM."""
    since = BEGAN + host + number
    dev = f"vt{host:06x}{number:06x}"
    devices = [
        {"path": path, "rdev": "0A:C8", "dev": dev, "fd": 31 + at, "event": event}
        for at, (path, event) in enumerate(
            (("/dev/net/tun", _event(since, 1)), ("/dev/vhost-net", _event(since, 2)))
        )
    ]
    grant = {
        "node": f"hv{host}",
        "vm": f"web{host}-{number}",
        "uuid": f"7f3a6fc8-0f5c-5f0e-{host:04x}-{number:012x}",
        "mac": f"52:54:{host >> 8:02x}:{host & 255:02x}:{number >> 8:02x}:{number & 255:02x}",
        "since": iso(since),
        "auid": 1000,
        "ses": 3,
        "exe": "/usr/bin/python3.11",
        "event": _event(since, 3),
        "devices": devices,
        "live": True,
        "network": _network(number),
        "ticket": f"CHG-{number}",
    }
    return {**grant, **other}


def _network(number: int) -> Data:
    network = {"source": "br0", "vlan": str(number % 40 + 2), "filter": "address"}
    return {**network, "isolated": None, "link": None}


def _event(time: float, serial: int) -> str:
    return f"{time:.3f}:{serial}"


def _session(grant: Data, past: bool) -> Data:
    began = iso(BEGAN - 3600) if past else grant["since"]
    nic = {
        "type": "net",
        "reason": "start",
        "resource": grant["mac"],
        "path": None,
        "dev": None,
        "success": True,
        "start": began,
        "end": None,
        "event": grant["event"],
    }
    same = {key: grant[key] for key in ("node", "vm", "uuid", "auid", "ses", "exe")}
    return {
        **same,
        "user": "root",
        "uid": 0,
        "pid": 4711,
        "start": began,
        "stop": iso(BEGAN - 60) if past else None,
        "end": "stopped" if past else "running",
        "reason": "destroyed" if past else None,
        "events": [grant["event"]],
        "resources": [] if past else [nic],
        "alerts": [],
    }


def _held(grant: Data, past: bool) -> Data:
    same = ("node", "vm", "uuid", "mac", "network", "auid", "ticket", "event")
    return {
        **{key: grant[key] for key in same},
        "ifname": grant["devices"][0]["dev"],
        "since": iso(BEGAN - 3600) if past else grant["since"],
        "until": iso(BEGAN - 60) if past else None,
        "end_event": _event(BEGAN - 60, 9) if past else None,
    }


def unrecorded(number: int, **other: t.Any) -> Data:
    """Return a finding: a program opened /dev/net/tun and nobody recorded it."""
    finding: Data = {
        "code": "unrecorded_open",
        "severity": "medium",
        "message": f"/usr/bin/ip (pid {number}) opened /dev/net/tun, and nobody recorded it.",
        "time": iso(BEGAN + number),
        "events": [_event(BEGAN, 5000 + number)],
        **dict.fromkeys(("node", "vm", "uuid", "mac", "dev", "fd")),
        "path": "/dev/net/tun",
        "pid": number,
        "exe": "/usr/bin/ip",
        "auid": 1000,
    }
    return {**finding, **other}
