# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NICs of VMs, beside libvirt: hot-plug, detach, re-run, cold start, and the floor under them.

All sides are tasks of one ansible-playbook. The time is the time that an operator waits for a task. Each round runs
every side, and our side and the other side take turns to run first. Both VMs are the same small Linux under TCG on one
bridge. A VM that is started cold stays paused. Otherwise its guest would slow down the next measurement.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support import (
    floor,
    host,
    libvirt,
    playbook,
    script,
)
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
)
from ansible_collections.virtaudit.qemu.tests.benchmark.support.playbook import (
    Task,
    Timed,
)

OURS, THEIRS = "vabench-ours", "vabench-theirs"
OUR_UUID = "be7cbe7c-0000-4000-8000-000000000001"
MANY = 16
COLD = (1, 4, MANY)


def macs(vm: int, count: int) -> list[str]:
    """Return the MACs of a VM's NICs."""
    return [f"52:54:00:be:{vm:02x}:{number:02x}" for number in range(count)]


def attach(name: str, uuid: str, addresses: Sequence[str], qemu: object = None) -> Task:
    """Return the task that gives a VM its NICs."""
    nics = [{"mac": mac, "source": host.BRIDGE} for mac in addresses]
    arguments = {"name": name, "uuid": uuid, "interfaces": nics, "qemu": qemu}
    return {"virtaudit.qemu.vm_net_attach": arguments}


def detach(uuid: str, name: str, **how: object) -> Task:
    """Return the task that detaches all NICs, or stops the VM."""
    return {"virtaudit.qemu.vm_net_detach": {"name": name, "uuid": uuid, **how}}


class Sides:
    """The tasks of each side."""

    def __init__(self, work: Path, guest: Path) -> None:
        self._work = work
        self._kernel = ["-kernel", f"{guest}/vmlinuz", "-initrd", f"{guest}/initrd"]
        self.linux = {
            "accel": "tcg",
            "memory": "80",
            "hotplug_ports": MANY + 3,
            "args": [
                *self._kernel,
                "-append",
                "console=ttyS0 quiet",
                "-serial",
                f"file:{work}/ours.serial",
            ],
        }
        for mac in macs(2, MANY):
            self._nic(mac).write_text(libvirt.nic_xml(mac), encoding="utf-8")

    def _nic(self, mac: str) -> Path:
        return self._work / f"nic-{mac.replace(':', '')}.xml"

    def one_task(self, count: int) -> list[Task]:
        """Return our tasks: attach, attach again, a task that does nothing, detach."""
        ours = attach(OURS, OUR_UUID, macs(1, count))
        return [
            {"name": f"attach {count}", **ours},
            {"name": f"again {count}", **ours},
            {"name": f"noop {count}", "noop": {}},
            {"name": f"detach {count}", **detach(OUR_UUID, OURS, macs=["all"])},
        ]

    def loop(self, count: int) -> list[Task]:
        """Return libvirt's tasks: a virsh task for each NIC, in a loop."""
        files = [str(self._nic(mac)) for mac in macs(2, count)]
        return [
            {
                "name": f"virsh {verb} {count}",
                **libvirt.command(f"{verb}-device", THEIRS, "{{ item }}", "--live"),
                "loop": files,
            }
            for verb in ("attach", "detach")
        ]

    def script(self, count: int) -> list[Task]:
        """Return libvirt's task: one virsh for all NICs."""
        files = [str(self._nic(mac)) for mac in macs(2, count)]
        return [
            {
                "name": f"virsh script {verb} {count}",
                **libvirt.command(
                    "; ".join(f"{verb}-device {THEIRS} {name} --live" for name in files)
                ),
            }
            for verb in ("attach", "detach")
        ]

    def floor(self) -> list[Task]:
        """Return the task that makes only the plain calls."""
        arguments = [script.HOST_PYTHON, str(floor.__file__)]
        monitor = f"{host.STATE}/{OUR_UUID}/qmp.sock"
        argv = [*arguments, monitor, host.BRIDGE, str(MANY)]
        return [{"name": "floor", "ansible.builtin.command": {"argv": argv}}]

    def cold(self, count: int, ours_first: bool) -> list[Task]:
        """Return the cold starts, and the ends of these VMs."""
        name, uuid = cold_name(count), cold_uuid(count)
        qemu = {"accel": "tcg", "memory": "80", "hotplug_ports": 19 - count}
        qemu.update({"paused": True, "args": self._kernel})
        ours: list[Task] = [
            {"name": f"start {count}", **attach(name, uuid, macs(3, count), qemu)},
            {"name": f"stop {count}", **detach(uuid, name, stop_vm="destroy")},
        ]
        theirs: list[Task] = [
            {
                "name": f"virsh start {count}",
                **libvirt.command("start", name, "--paused"),
            },
            {"name": f"virsh stop {count}", **libvirt.command("destroy", name)},
        ]
        return [*ours, *theirs] if ours_first else [*theirs, *ours]

    def round(self, number: int) -> list[Task]:
        """Return one round of all tasks."""
        ours = [*self.one_task(MANY), *self.floor(), *self.one_task(1)]
        theirs = [*self.loop(MANY), *self.script(MANY), *self.loop(1)]
        first = number % 2 == 0
        cold = [task for count in COLD for task in self.cold(count, first)]
        return [*ours, *theirs, *cold] if first else [*theirs, *ours, *cold]


def cold_name(count: int) -> str:
    """Return the name of the VM that starts with so many NICs."""
    return f"vabench-cold{count}"


def cold_uuid(count: int) -> str:
    """Return its UUID."""
    return f"be7cbe7c-0000-4000-8000-0000000001{count:02}"


@contextlib.contextmanager
def vms(sides: Sides, work: Path, guest: Path) -> Iterator[None]:
    """Run our VM and libvirt's VM with a guest that is up, while the block runs."""
    serial = work / "theirs.serial"
    # libvirt's user writes this file.
    serial.touch()
    with contextlib.ExitStack() as stack:
        theirs = libvirt.domain_xml(THEIRS, OUR_UUID[:-1] + "2", guest, serial, macs=())
        stack.enter_context(libvirt.domain(THEIRS, theirs, work))
        for count in COLD:
            name = cold_name(count)
            # The UUID differs from our VM's UUID, because both VMs leave records.
            xml = libvirt.domain_xml(
                name, cold_uuid(count + 50), guest, None, macs(4, count)
            )
            stack.enter_context(libvirt.domain(name, xml, work))
            end = {"name": "end", **detach(cold_uuid(count), name, stop_vm="destroy")}
            stack.callback(playbook.run, [end], work)
        libvirt.virsh("start", THEIRS)
        end = {"name": "end", **detach(OUR_UUID, OURS, stop_vm="destroy")}
        stack.callback(playbook.run, [end], work)
        start = {"name": "begin", **attach(OURS, OUR_UUID, [], sides.linux)}
        playbook.run([start], work)
        for path in (serial, work / "ours.serial"):
            host.wait_for_text(path, "GUEST-READY")
        yield


def figures(times: Sequence[Timed], rounds: int) -> list[Figure]:
    """Return the table."""

    def ms(task: str) -> list[float]:
        found = [each.seconds * 1000 for each in times if each.task == task]
        assert len(found) == rounds, task
        return found

    bottom = [
        statistics.median(json.loads(each.stdout)) * 1000
        for each in times
        if each.task == "floor"
    ]
    more = [
        (many - one) / (MANY - 1)
        for many, one in zip(ms(f"attach {MANY}"), ms("attach 1"))
    ]
    ours, loop, whole = "one task", "virsh tasks in a loop", "one virsh for all"

    def many(verb: str, theirs: str) -> dict[str, list[float]]:
        task = f"virsh {'script ' if theirs is whole else ''}{verb} {MANY}"
        return {ours: ms(f"{verb} {MANY}"), theirs: ms(task)}

    one = {"one task": ms("attach 1"), "a virsh task": ms("virsh attach 1")}
    gone = {"one task": ms("detach 1"), "a virsh task": ms("virsh detach 1")}
    same = "is attached already"
    return [
        Figure(
            f"{MANY} NICs hot-plugged",
            "ms",
            many("attach", loop),
            (loop, ours),
            Wanted("at least", 12),
        ),
        Figure(
            f"{MANY} NICs hot-plugged",
            "ms",
            many("attach", whole),
            (whole, ours),
            Wanted("at least", 1.5),
        ),
        Figure(
            "1 NIC hot-plugged",
            "ms",
            one,
            ("one task", "a virsh task"),
            Wanted("at most", 0.9),
        ),
        Figure(
            "one more NIC in a call",
            "ms",
            {"one task": more, "the floor": bottom},
            ("one task", "the floor"),
            Wanted("at most", 1.5),
            f"({MANY} NICs - 1 NIC) / {MANY - 1}, beside open, records and QMP in plain calls",
        ),
        *(
            Figure(
                f"re-run, {_nics(count)}",
                "ms",
                {same: ms(f"again {count}"), "a no-op module": ms(f"noop {count}")},
                (same, "a no-op module"),
                Wanted("at most", 1.25),
            )
            for count in (1, MANY)
        ),
        *(
            Figure(
                f"cold start, {_nics(count)}",
                "ms",
                {
                    "one task": ms(f"start {count}"),
                    "virsh start": ms(f"virsh start {count}"),
                },
                ("virsh start", "one task"),
            )
            for count in COLD
        ),
        Figure(
            "1 NIC detached",
            "ms",
            gone,
            ("one task", "a virsh task"),
            Wanted("at most", 0.9),
        ),
        Figure(f"{MANY} NICs detached", "ms", many("detach", loop), (loop, ours)),
        Figure(f"{MANY} NICs detached", "ms", many("detach", whole), (whole, ours)),
        Figure(
            f"VM ended, {_nics(MANY)}",
            "ms",
            {"one task": ms(f"stop {MANY}"), "virsh destroy": ms(f"virsh stop {MANY}")},
            ("virsh destroy", "one task"),
        ),
    ]


def _nics(count: int) -> str:
    return f"{count} NIC{'s' if count > 1 else ''}"


def main() -> None:
    """Measure, and restore the machine."""
    rounds = script.rounds(5)
    script.end_by_exception()
    host.install_peers()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        work = Path(name)
        # libvirt's user reads the guest.
        work.chmod(0o755)
        stack.enter_context(host.auditing())
        stack.enter_context(host.bridge())
        stack.enter_context(host.state_in_memory())
        stack.enter_context(host.kvm_as_udev_makes_it())
        script.say("nics: waiting for libvirtd, which may probe qemu first")
        stack.enter_context(libvirt.daemons(work))
        guest = host.guest(work)
        sides = Sides(work, guest)
        stack.enter_context(vms(sides, work, guest))
        script.say(f"nics: {rounds} rounds, and one before them")
        # The first round fills caches, also those of ansible-playbook, and does not count.
        first = sides.round(0)
        tasks = [task for number in range(rounds) for task in sides.round(number)]
        times = playbook.run([*first, *tasks], work)[len(first) :]
    script.finish(figures(times, rounds))


if __name__ == "__main__":
    main()
