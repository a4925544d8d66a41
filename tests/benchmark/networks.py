# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a VLAN, a filter and Open vSwitch take: of an attach, and of each frame.

The time of one more NIC is (32 NICs - 1 NIC) / 31, in tasks of one ansible-playbook. It is compared with one more plain NIC of the
same round. Each round runs every kind of NIC twice, first in one order and then in the other, and takes the mean, so
that a machine that gets slower meanwhile affects all kinds alike. The VM is paused, because a guest that looks for its
new cards on TCG takes the processor from qemu for up to 12 ms at a time, whatever the network of the NIC is. Each time
is measured on a host without other filtered NICs, and on a host with a thousand of them.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support import (
    filtered,
    host,
    playbook,
    script,
    switch,
    vm,
)
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
)
from ansible_collections.virtaudit.qemu.tests.benchmark.support.playbook import (
    Task,
    Timed,
)

VM = {"name": "vabench-networks", "uuid": "be7cbe7c-0000-4000-8000-000000000301"}
MANY = 32
# In a short run it would take a minute to make a thousand of them.
CROWD = 100 if script.is_short() else 1000
FRAME_ROUNDS = 4
Options = dict[str, object]


def attach(count: int, options: Options) -> Task:
    """Return the task that gives the VM so many NICs on such a network."""
    nics = [
        {"mac": f"52:54:00:be:0a:{number:02x}", "source": host.BRIDGE, **options}
        for number in range(count)
    ]
    return {vm.ATTACH: {**VM, "interfaces": nics}}


def filters_vlans() -> bool:
    """Make the bridge keep VLANs apart. Tell whether this kernel can do that."""
    words = ["ip", "link", "set", host.BRIDGE, "type", "bridge", "vlan_filtering", "1"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def kinds(vlans: bool) -> dict[str, Options]:
    """Return the networks to measure, by their names."""
    found: dict[str, Options] = {
        "plain": {},
        "filter": {
            "filter": "address",
            "addresses": ["192.0.2.7", "2001:db8::7"],
            **({"vlan": {"tag": 42}} if vlans else {}),
        },
    }
    if switch.is_installed():
        found["switch"] = {"type": "openvswitch", "source": switch.BRIDGE}
    return found


def one_round(networks: dict[str, Options]) -> list[Task]:
    """Return the tasks of one round: each kind of network twice, in both orders."""
    # A paused guest releases no NIC.
    gone = {"name": "detach", vm.DETACH: {**VM, "macs": ["all"], "force": True}}
    tasks: list[Task] = []
    for name, options in [*networks.items(), *reversed(networks.items())]:
        for count in (1, MANY):
            tasks += [{"name": f"{name} {count}", **attach(count, options)}, gone]
    return tasks


def one_more(times: Sequence[Timed], name: str) -> list[float]:
    """Return the milliseconds of one more NIC, for each round."""
    one, many = (
        [each.seconds * 1000 for each in times if each.task == f"{name} {count}"]
        for count in (1, MANY)
    )
    more = [(after - before) / (MANY - 1) for before, after in zip(one, many)]
    return [*map(statistics.mean, zip(more[::2], more[1::2]))]


def frames() -> dict[str, list[float]]:
    """Return the microseconds of a frame with the filter and without it."""
    found: dict[str, list[float]] = {"filter: address": [], "no filter": []}
    for _round in range(FRAME_ROUNDS):
        for side, is_filtered in (("filter: address", True), ("no filter", False)):
            with contextlib.closing(filtered.Sender(is_filtered)) as sender:
                found[side].append(sender.microseconds())
                if not sender.passed():
                    raise SystemExit("no frame arrived at the other port")
    return found


def figures(
    attached: Mapping[int, Sequence[Timed]],
    passed: Mapping[int, Mapping[str, list[float]]],
    vlans: bool,
) -> list[Figure]:
    """Return the table."""
    with_vlan = "" if vlans else "this kernel's bridges keep no VLANs apart: no vlan"
    table = []
    for count, times in attached.items():
        plain, some = one_more(times, "plain"), one_more(times, "filter")
        more = [after - before for before, after in zip(plain, some)]
        sides = {"more than a plain one": more, "with both": some, "a plain one": plain}
        what = f"one more NIC with vlan and filter address, {count} filtered NICs on the host"
        wanted = Wanted("at most", 3, "median")
        table.append(Figure(what, "ms", sides, wanted=wanted, note=with_vlan))
    for count, took in passed.items():
        what = f"a frame from guest to guest, {count + 1} filtered NICs on the host"
        table.append(Figure(what, "us", took, ("filter: address", "no filter")))
    if switch.is_installed():
        there, here = "on Open vSwitch", "on a bridge"
        kinds_of = {there: "switch", here: "plain"}
        both = {side: one_more(attached[0], kind) for side, kind in kinds_of.items()}
        table.append(Figure("one more NIC, by switch", "ms", both, (there, here)))
    return table


def main() -> None:
    """Measure, and restore the machine."""
    rounds = script.rounds(5)
    script.end_by_exception()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        work = Path(name)
        stack.enter_context(host.auditing())
        stack.enter_context(host.bridge())
        vlans = filters_vlans()
        stack.enter_context(host.state_in_memory())
        if switch.is_installed():
            stack.enter_context(switch.running(work))
        stack.enter_context(vm.paused(VM, work, ports=MANY))
        attached, passed = {}, {}
        for count in (0, CROWD):
            networks = kinds(vlans)
            if count:
                networks.pop("switch", None)
            script.say(f"networks: {count} other NICs, {rounds} rounds, one before")
            tasks = one_round(networks)
            with filtered.crowd(count):
                # The first round fills caches and does not count.
                times = playbook.run(tasks * (rounds + 1), work)
                attached[count] = times[len(tasks) :]
                passed[count] = frames()
    script.finish(figures(attached, passed, vlans))


if __name__ == "__main__":
    main()
