# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it takes a task to prove that its records are on disk: to find them in the audit daemon's log.

The records are those of an attach of one NIC, and of 16 NICs: two opens and the hand-over of each. Before the hand-over and at its
end, a task waits until the daemon's log has the records. This waiting time is the proof. In the rest of the time it writes the
records and waits for the kernel's echo of each.
"""

from __future__ import annotations

import contextlib
import time
import typing as t
import uuid as uuidlib

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import (
    Origin,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.tests.benchmark.support import host, script
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
)

COUNTS = (1, 16)


class Task(t.NamedTuple):
    """The times for the records of a task, in milliseconds."""

    proof: float
    whole: float


def attach(count: int) -> Task:
    """Write the records of an attach, and prove them."""
    told = Vm("vabench-proof", str(uuidlib.uuid4()), "qemu")
    messages = Messages(told, Origin.of_this_process())
    nics = [
        (f"52:54:00:be:0b:{number:02x}", _devices(number)) for number in range(count)
    ]
    begin, proof = time.perf_counter(), 0.0
    with Auditor("required") as auditor:
        auditor.prepare()
        for mac, devices in nics:
            for opened in devices:
                auditor.write(messages.net_open(mac, opened, True))
        proof += _seconds(auditor.prove)
        for mac, devices in nics:
            dev, network = devices[0].dev, Network(source=host.BRIDGE)
            auditor.write(
                messages.net_grant("attach", mac, [31, 32], True, dev, network)
            )
        proof += _seconds(auditor.prove)
        whole = time.perf_counter() - begin
        # These records make sure that no trail says that somebody holds the devices.
        for mac, devices in nics:
            auditor.write(messages.net_detach(mac, True))
            for opened in devices:
                auditor.write(messages.net_close(mac, opened, opened.fd))
        auditor.prove()
    return Task(proof * 1000, whole * 1000)


def _seconds(does: t.Callable[[], None]) -> float:
    begin = time.perf_counter()
    does()
    return time.perf_counter() - begin


def _devices(number: int) -> list[Device]:
    dev = f"vabench{number}"
    nodes = (("/dev/net/tun", "0A:C8", 31), ("/dev/vhost-net", "0A:EE", 32))
    return [Device(path, rdev, dev, fd) for path, rdev, fd in nodes]


def main() -> None:
    """Measure, and restore the machine."""
    rounds = script.rounds(30)
    script.end_by_exception()
    with contextlib.ExitStack() as stack:
        stack.enter_context(host.auditing())
        table = []
        for count in COUNTS:
            attach(count)
            times = [attach(count) for _round in range(rounds)]
            sides = {
                "the proof": [each.proof for each in times],
                "all of its records": [each.whole for each in times],
            }
            what = f"proof on disk for a task, {count} NIC{'s' if count > 1 else ''}"
            wanted = Wanted("at most", 2, "median")
            table.append(Figure(what, "ms", sides, wanted=wanted))
    script.finish(table)


if __name__ == "__main__":
    main()
