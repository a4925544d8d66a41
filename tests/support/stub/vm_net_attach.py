# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replaces the module of this name in tests that need only its answer. It returns records, and does nothing else."""

from __future__ import annotations

import os
import time
import typing as t
import uuid

from ansible.module_utils.basic import AnsibleModule


def record(number: int, vm: str, event: str) -> dict[str, t.Any]:
    """Return the record of an open or of an attach, in turn."""
    mac = f"52:54:00:00:00:{number // 2 % 256:02x}"
    what = (
        {"reason": "attach", "old-net": None, "new-net": mac, "fds": "31,32"}
        if number % 2
        else {
            "reason": "open",
            "net": mac,
            "path": "/dev/net/tun",
            "rdev": "0A:C8",
            "dev": "vt" + mac.replace(":", ""),
        }
    )
    fields = {
        "virt": "kvm",
        "resrc": "net",
        "vm": vm,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, vm)),
        **what,
        "exe": "/usr/bin/python3.11",
        "hostname": None,
        "addr": "10.0.2.2",
        "terminal": None,
        "res": "success",
    }
    if run := os.environ.get("VIRTAUDIT_RUN"):
        fields["run"] = run
    if other := os.environ.get("OTHER"):
        fields["other"] = other
    return {
        "type": "VIRT_RESOURCE",
        "event": event,
        "confirmed": True,
        "fields": fields,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "records": {"type": "int", "default": 1},
            # The serial number of the first record.
            "serial": {"type": "int", "default": 1000},
            "secret": {"type": "str"},
            "fail": {"type": "bool", "default": False},
            # Fail the first time, when this file does not exist, and make it.
            "fail_without": {"type": "path"},
            # Add a byte to this file, so that a test can count the calls without their results.
            "count": {"type": "path"},
        },
        supports_check_mode=True,
    )
    name, count, first, fail, path = (
        module.params[key]
        for key in ("name", "records", "serial", "fail", "fail_without")
    )
    if path and not os.path.exists(path):
        fail = True
        with open(path, "w", encoding="ascii"):
            pass
    if counter := module.params["count"]:
        with open(counter, "a", encoding="ascii") as handle:
            handle.write(".")
    now = time.time()
    records = [
        record(number, name, f"{now + number / 1000:.3f}:{first + number}")
        for number in range(0 if module.check_mode else count)
    ]
    audit = {"mode": "required", "daemon": 1, "auid": 1000, "ses": 3}
    answer: dict[str, t.Any] = {"changed": True, "audit": {**audit, "records": records}}
    if fail:
        module.fail_json(msg="failed half way", **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
