# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tasks that a run harms, the tasks before them, and the state that must be true after they ran again."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import host, switch
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
FILTERED = {
    "mac": "52:54:00:fa:17:04",
    "source": host.BRIDGE,
    "vhost": "off",
    "filter": "address",
    "addresses": ["192.0.2.7", "2001:db8::/64"],
    "isolated": True,
}
FILTERED_MACVTAP = {
    **MACVTAP,
    "mac": "52:54:00:fa:17:05",
    "filter": "address",
    "addresses": ["198.51.100.0/24", "2001:db8::7"],
}
SWITCHED = {
    "mac": "52:54:00:fa:17:06",
    "source": switch.BRIDGE,
    "type": "openvswitch",
    "vhost": "off",
    "vlan": {"tag": 42},
}
# The NICs after an update: the first was moved and put into quarantine, and the second has fewer rights.
MOVED = {**FILTERED, "source": host.OTHER_BRIDGE, "filter": "mac", "addresses": []}
MOVED = {**MOVED, "isolated": False, "link": "down"}
NARROWED = {**FILTERED_MACVTAP, "addresses": ["198.51.100.7"], "link": "down"}
FILTERED_MACS = [str(FILTERED["mac"]), str(FILTERED_MACVTAP["mac"])]
MACS = [str(TAP["mac"]), str(MACVTAP["mac"])]
EVERY_MAC = [*MACS, str(PASSTHROUGH["mac"]), *FILTERED_MACS, str(SWITCHED["mac"])]
# Only these harms show something new with Open vSwitch. A task that no longer needs its bridge is not harmed by
# bridge-gone.
SWITCH_HARMS = ("kill", "interrupt", "qemu-dies", "switch-hangs", "database-gone")
BRIDGE_HARMS = (*SWITCH_HARMS, "bridge-gone")
QEMU = {"accel": "tcg", "memory": "64", "paused": True}


def vm_name(uuid: str) -> str:
    """Return the name of a VM. It is the VM's own, because a task that finds no note reads all records of the name."""
    return f"vafault-{uuid[:8]}"


def attach(
    uuid: str,
    interfaces: list[dict[str, Any]],
    qemu: dict[str, Any] | None = None,
    **options: Any,
) -> Task:
    """Return an attach to a VM."""
    nics = {"interfaces": interfaces, "qemu": qemu}
    return "vm_net_attach", {"name": vm_name(uuid), "uuid": uuid, **nics, **options}


def detach(uuid: str, **options: Any) -> Task:
    """Return a detach of all NICs."""
    return "vm_net_detach", {
        "name": vm_name(uuid),
        "uuid": uuid,
        "macs": ["all"],
        **options,
    }


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A task to harm. ``granted`` and ``running`` must be true at the end, whatever the harm.

    After the tasks ``before``, ``leaves`` leaves something that the task must repair. ``goes`` tells that the guest is not
    paused, and must run at the end. ``harms`` are the only harms that show something new. If it is empty, all harms do.
    ``around`` is a context for all points.
    """

    name: str
    before: Callable[[str], list[Task]]
    task: Callable[[str], Task]
    granted: list[str]
    running: bool = True
    leaves: Callable[[str], None] = lambda _uuid: None
    goes: bool = False
    harms: tuple[str, ...] = ()
    around: Callable[[], contextlib.AbstractContextManager[None]] = (
        contextlib.nullcontext
    )

    def runs_again(self, alive: bool) -> bool:
        """Tell whether the VM should run after the next run. Only an attach starts a VM."""
        return self.running and (alive or bool(self.granted))


def _without_filter(nic: dict[str, Any]) -> dict[str, Any]:
    kept = ("mac", "source", "type", "mode", "vhost")
    return {key: nic[key] for key in kept if key in nic}


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
        [str(PASSTHROUGH["mac"])],
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
    Scenario(
        "filter-start",
        lambda _uuid: [],
        lambda uuid: attach(uuid, [FILTERED, FILTERED_MACVTAP], QEMU),
        FILTERED_MACS,
    ),
    Scenario(
        "filter-plug",
        lambda uuid: [attach(uuid, [], QEMU)],
        lambda uuid: attach(uuid, [FILTERED, FILTERED_MACVTAP], QEMU),
        FILTERED_MACS,
    ),
    Scenario(
        "filter-update",
        lambda uuid: [attach(uuid, [FILTERED, FILTERED_MACVTAP], QEMU)],
        lambda uuid: attach(uuid, [MOVED, NARROWED], QEMU),
        FILTERED_MACS,
    ),
    Scenario(
        "filter-off",
        lambda uuid: [attach(uuid, [FILTERED, FILTERED_MACVTAP], QEMU)],
        lambda uuid: attach(
            uuid, [_without_filter(FILTERED), _without_filter(FILTERED_MACVTAP)], QEMU
        ),
        FILTERED_MACS,
    ),
    Scenario(
        "filter-revoke",
        lambda uuid: [attach(uuid, [FILTERED, FILTERED_MACVTAP], QEMU)],
        lambda uuid: detach(uuid, force=True, timeout=0.2),
        [],
    ),
    Scenario(
        "filter-stop",
        lambda uuid: [attach(uuid, [FILTERED, FILTERED_MACVTAP], QEMU)],
        lambda uuid: detach(uuid, stop_vm="destroy"),
        [],
        running=False,
    ),
    Scenario(
        "switch-plug",
        lambda uuid: [attach(uuid, [], QEMU)],
        lambda uuid: attach(uuid, [SWITCHED], QEMU),
        EVERY_MAC[-1:],
        harms=BRIDGE_HARMS,
        around=switch.running,
    ),
    Scenario(
        "switch-start",
        lambda _uuid: [],
        lambda uuid: attach(uuid, [SWITCHED], QEMU),
        EVERY_MAC[-1:],
        harms=BRIDGE_HARMS,
        around=switch.running,
    ),
    Scenario(
        "switch-update",
        lambda uuid: [attach(uuid, [SWITCHED], QEMU)],
        lambda uuid: attach(uuid, [{**SWITCHED, "vlan": {"tag": 43}}], QEMU),
        EVERY_MAC[-1:],
        harms=SWITCH_HARMS,
        around=switch.running,
    ),
    Scenario(
        "switch-revoke",
        lambda uuid: [attach(uuid, [SWITCHED], QEMU)],
        lambda uuid: detach(uuid, force=True, timeout=2),
        [],
        harms=SWITCH_HARMS,
        around=switch.running,
    ),
    Scenario(
        "switch-stop",
        lambda uuid: [attach(uuid, [SWITCHED], QEMU)],
        lambda uuid: detach(uuid, stop_vm="destroy"),
        [],
        running=False,
        harms=SWITCH_HARMS,
        around=switch.running,
    ),
]
