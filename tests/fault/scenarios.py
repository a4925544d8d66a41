# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tasks that a run harms, what comes before them, and what must be true after they were run again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import host
from ansible_collections.virtaudit.qemu.tests.fault.cut import Task, cut_off

TAP = {"mac": "52:54:00:fa:17:01", "source": host.BRIDGE, "queues": 2}
MACVTAP = {
    "mac": "52:54:00:fa:17:02",
    "source": host.LOWER,
    "type": "direct",
    "mode": "bridge",
    "vhost": "off",
}
PASSTHROUGH = {
    "mac": "52:54:00:fa:17:03",
    "source": host.WHOLE,
    "type": "direct",
    "mode": "passthrough",
    "vhost": "off",
}
MACS = [str(TAP["mac"]), str(MACVTAP["mac"])]
EVERY_MAC = [*MACS, str(PASSTHROUGH["mac"])]
QEMU = {"accel": "tcg", "memory": "64", "paused": True}


def attach(
    uuid: str,
    interfaces: list[dict[str, Any]],
    qemu: dict[str, Any] | None = None,
    **options: Any,
) -> Task:
    """Return an attach to a VM."""
    nics = {"interfaces": interfaces, "qemu": qemu}
    return "vm_net_attach", {"name": "vafault", "uuid": uuid, **nics, **options}


def detach(uuid: str, **options: Any) -> Task:
    """Return a detach of all NICs."""
    return "vm_net_detach", {
        "name": "vafault",
        "uuid": uuid,
        "macs": ["all"],
        **options,
    }


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A task to harm. ``granted`` and ``running`` must be true at the end, whatever the harm.

    After the tasks ``before``, ``leaves`` leaves something for the task to repair. ``goes`` tells that its
    guest is not paused, and runs at the end. ``harms`` names the harms that show something new here. If it is
    empty, all do.
    """

    name: str
    before: Callable[[str], list[Task]]
    task: Callable[[str], Task]
    granted: list[str]
    running: bool = True
    leaves: Callable[[str], None] = lambda _uuid: None
    goes: bool = False
    harms: tuple[str, ...] = ()

    def runs_again(self, alive: bool) -> bool:
        """Tell whether the VM should run after the next run. Only an attach starts a VM."""
        return self.running and (alive or bool(self.granted))


SCENARIOS = [
    Scenario(
        "cold-start",
        lambda _uuid: [],
        lambda uuid: attach(uuid, [TAP, MACVTAP], QEMU),
        MACS,
    ),
    Scenario(
        "run",
        lambda _uuid: [],
        lambda uuid: attach(uuid, [TAP], {**QEMU, "paused": False}),
        MACS[:1],
        goes=True,
        harms=("kill", "term", "enospc", "qemu-dies"),
    ),
    Scenario(
        "hot-plug",
        lambda uuid: [attach(uuid, [], QEMU)],
        # A run needs this to start the VM after a run in which qemu died.
        lambda uuid: attach(uuid, [TAP, MACVTAP], QEMU),
        MACS,
    ),
    Scenario(
        "passthrough",
        lambda uuid: [attach(uuid, [], QEMU)],
        lambda uuid: attach(uuid, [PASSTHROUGH], QEMU),
        EVERY_MAC[2:],
        harms=("kill", "interrupt", "emfile", "eperm", "enobufs", "qemu-dies"),
    ),
    Scenario(
        "passthrough-stop",
        lambda uuid: [attach(uuid, [PASSTHROUGH], QEMU)],
        lambda uuid: detach(uuid, stop_vm="destroy"),
        [],
        running=False,
        harms=("kill", "enobufs"),
    ),
    Scenario(
        "repair",
        lambda uuid: [attach(uuid, [], QEMU)],
        lambda uuid: attach(uuid, [TAP, MACVTAP], QEMU),
        MACS,
        # The VM has the first NIC, which is not on record. The task asks for the second one again.
        leaves=lambda uuid: cut_off(
            attach(uuid, [TAP, MACVTAP], QEMU), "record .*reason=attach"
        ),
        harms=("kill", "enospc", "qemu-dies", "audit-disabled", "logging-suspended"),
    ),
    Scenario(
        "revoke",
        lambda uuid: [attach(uuid, [TAP, MACVTAP], QEMU)],
        lambda uuid: detach(uuid, force=True, timeout=0.2),
        [],
    ),
    Scenario(
        "stop",
        lambda uuid: [attach(uuid, [TAP, MACVTAP], QEMU)],
        lambda uuid: detach(uuid, stop_vm="destroy"),
        [],
        running=False,
    ),
]
