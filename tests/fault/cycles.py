# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attaches and detaches NICs many times on one running VM, and checks that nothing grows."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
import uuid as uuidlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.fault import host, runner, witness
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    MACVTAP,
    TAP,
    attach,
    detach,
)

_GUEST = Path(__file__).resolve().parents[1] / "support/guest/build"
_BOOT_SECONDS = 120.0
# In these cycles the guest and qemu fill their caches. The comparison of the figures begins after them.
_WARM_UP = 10
# The kernel keeps the memory of a removed tap or macvtap for some time, and frees it only after an
# RCU period.
_SETTLE_SECONDS = 1.0
# The guest touches more of its memory, and qemu translates more of its code. Both grow by huge pages of
# 2 MiB, every few hundred cycles. If a NIC left anything behind, the memory would grow with every cycle.
_WOBBLE_KIB = 2 * 2048


@dataclasses.dataclass(frozen=True)
class Figures:
    """Figures of the host at one moment."""

    qemu_fds: int
    qemu_rss_kib: int
    qemu_threads: int
    links: int
    bridge_ports: int
    learned_macs: int
    tap_nodes: int
    notes: int
    open_files: int
    mounts: int


def cycles(count: int) -> tuple[list[str], list[str]]:
    """Attach a tap with two queues and a macvtap, and detach both, ``count`` times.

    Returns the violations, and the figures in words.
    """
    uuid = str(uuidlib.uuid4())
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as work, _guest(uuid, work) as pid:
        _repeat(uuid, min(_WARM_UP, count), problems)
        records = len(witness.records(uuid))
        before = _figures(pid)
        begun = time.monotonic()
        sizes = _repeat(uuid, count, problems, pid)
        seconds = time.monotonic() - begun
        after = _figures(pid)
        written = witness.records(uuid)[records:]
        problems += _differences(before, after, sizes)
        problems += _recorded(written, count)
        problems += witness.violations(uuid, MACS, [], True)
    return problems, [
        f"{count} cycles in {seconds:.0f} s, {len(written)} records",
        f"before: {_words(before)}",
        f"after:  {_words(after)}",
        "VmRSS of qemu, median of each tenth, KiB: "
        + " ".join(str(value) for value in _tenths(sizes)),
    ]


def _repeat(
    uuid: str, count: int, problems: list[str], pid: int | None = None
) -> list[int]:
    """Do cycles. Return qemu's memory after each of them, in KiB."""
    sizes = []
    for number in range(count):
        for task in (attach(uuid, [TAP, MACVTAP]), detach(uuid)):
            result = runner.run_module(*task)
            if result.get("failed", not result):
                problems.append(f"cycle {number}: {result.get('msg', 'no result')}")
        if len(problems) > 5:
            raise SystemExit(f"too much is wrong to go on: {problems}")
        if pid is not None:
            sizes.append(_status(pid, "VmRSS"))
    return sizes


def _differences(before: Figures, after: Figures, sizes: list[int]) -> list[str]:
    """Return the figures that differ. All figures except the memory must be equal.

    The memory varies. In the later half of the cycles it may be larger by the given amount.
    """
    first, second = dataclasses.asdict(before), dataclasses.asdict(after)
    problems = [
        f"{key}: {first[key]} before, {second[key]} after"
        for key in first
        if key not in ("qemu_rss_kib", "open_files") and first[key] != second[key]
    ]
    half = len(sizes) // 2
    grown = statistics.median(sizes[half:]) - statistics.median(sizes[:half])
    if grown > _WOBBLE_KIB:
        problems.append(f"qemu grew by {grown:.0f} KiB from one half to the other")
    return problems


def _recorded(records: list[witness.Fields], count: int) -> list[str]:
    """Check that each cycle has an attach and a detach for each NIC, and an open and a close for each queue."""
    found = Counter((each.get("reason", each["type"]), each["res"]) for each in records)
    queues, nics = 3 * count, 2 * count
    wanted = {
        ("open", "success"): queues,
        ("close", "success"): queues,
        ("attach", "success"): nics,
        ("detach", "success"): nics,
    }
    if not os.path.exists("/dev/vhost-net"):
        # With vhost: auto the task has tried to open it.
        wanted["open", "failed"] = count
    else:
        wanted["open", "success"] += 2 * count
        wanted["close", "success"] += 2 * count
    return [] if found == wanted else [f"records {dict(found)}, should be {wanted}"]


@contextlib.contextmanager
def _guest(uuid: str, work: str) -> Iterator[int]:
    """Run the small Linux, which releases its NICs when asked. Yield the pid of its qemu."""
    built = subprocess.run(
        ["sh", str(_GUEST)], capture_output=True, text=True, check=True
    )
    place = built.stdout.strip().splitlines()[-1]
    serial = f"{work}/serial"
    words = f"-kernel {place}/vmlinuz -initrd {place}/initrd -serial file:{serial}"
    # Without no_timer_check the kernel finds no timer on a busy machine, and panics.
    kernel = "console=ttyS0 quiet no_timer_check"
    arguments = [*words.split(), "-append", kernel]
    qemu = {"accel": "tcg", "memory": "80", "args": arguments, "hotplug_ports": 2}
    try:
        result = runner.run_module(*attach(uuid, [], qemu))
        if result.get("failed", not result):
            raise SystemExit(f"the guest does not start: {result.get('msg')}")
        deadline = time.monotonic() + _BOOT_SECONDS
        while "GUEST-READY" not in Path(serial).read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise SystemExit("the guest does not come up")
            time.sleep(0.2)
        yield result["vm"]["pid"]
    finally:
        runner.run_module(*detach(uuid, stop_vm="destroy"))
        host.sweep(uuid, MACS)


def _figures(pid: int) -> Figures:
    time.sleep(_SETTLE_SECONDS)
    mine = [link for link in _told("ip", "-j", "link") if _is_ours(link)]
    with open("/proc/sys/fs/file-nr", encoding="ascii") as handle:
        open_files = int(handle.read().split()[0])
    with open("/proc/mounts", encoding="utf-8") as handle:
        # Other mounts on this machine have nothing to do with the collection.
        mounts = sum(f" {host.STATE}" in line for line in handle)
    return Figures(
        qemu_fds=len(os.listdir(f"/proc/{pid}/fd")),
        qemu_rss_kib=_status(pid, "VmRSS"),
        qemu_threads=_status(pid, "Threads"),
        links=len(mine),
        bridge_ports=len(os.listdir(f"/sys/class/net/{host.BRIDGE}/brif")),
        learned_macs=len(_told("bridge", "-j", "fdb", "show", "br", host.BRIDGE)),
        tap_nodes=sum(
            bool(re.fullmatch(r"tap\d+", each)) for each in os.listdir("/dev")
        ),
        notes=len(os.listdir(host.STATE)),
        open_files=open_files,
        mounts=mounts,
    )


def _told(*command: str) -> list[dict[str, str]]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    entries: list[dict[str, str]] = json.loads(done.stdout)
    return entries


def _is_ours(link: dict[str, str]) -> bool:
    return (
        link["ifname"].startswith(("vafault", "vt525400fa17"))
        or link.get("master") == host.BRIDGE
        or link.get("link") == host.LOWER
    )


def _status(pid: int, key: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    match = re.search(rf"^{key}:\s*(\d+)", text, re.MULTILINE)
    assert match is not None
    return int(match[1])


def _tenths(sizes: list[int]) -> list[int]:
    step = max(1, len(sizes) // 10)
    return [
        round(statistics.median(sizes[begin : begin + step]))
        for begin in range(0, len(sizes), step)
    ]


def _words(figures: Figures) -> str:
    pairs = dataclasses.asdict(figures).items()
    return ", ".join(f"{key} {value}" for key, value in pairs)
