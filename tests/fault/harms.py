# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of harm that a test does to a task, or to the host around it, at one of the task's system calls."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import (
    host,
    switch,
    tracer,
    witness,
)
from ansible_collections.virtaudit.qemu.tests.fault.cut import Task


def _nothing() -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Harm:
    """One kind of harm.

    The test does the harm at the points that ``strikes`` matches. It uses strace's ``inject``, or it stops the task after
    the call and calls ``action`` with the VM's UUID. ``mend`` repairs the host. ``dies`` tells that the task has no
    result. ``says`` is a regular expression for the message of a task that fails. ``blind`` tells that the task could not
    write records, so that the trail is complete only after the next run. A whole run takes each ``every``-th point, and
    the points that ``often`` matches. ``around`` is a context for all points.
    """

    name: str
    strikes: str
    inject: str | None = None
    action: Callable[[str], None] | None = None
    mend: Callable[[], None] = _nothing
    dies: bool = False
    blind: bool = False
    every: int = 1
    often: str = "(?!)"
    says: str = ""
    around: Callable[[], contextlib.AbstractContextManager[None]] = (
        contextlib.nullcontext
    )

    def applies(self, point: tracer.Point) -> bool:
        """Tell whether this harm can be done at a point."""
        return re.search(self.strikes, str(point)) is not None

    def explains(self, result: dict[str, Any]) -> bool:
        """Tell whether the message of a failed task says what is wrong."""
        return re.search(self.says, result["msg"]) is not None

    def do(
        self, task: Task, point: tracer.Point, uuid: str
    ) -> tuple[dict[str, Any], bool]:
        """Run a task and harm it. Return its result, and whether the harm was done at the right point."""
        try:
            if self.inject is not None:
                return tracer.harm_at(*task, point, self.inject)
            action = self.action
            assert action is not None
            return tracer.pause_at(*task, point, lambda: action(uuid)), True
        finally:
            self.mend()


def _kill_qemu(uuid: str) -> None:
    for pid in witness.qemus(uuid):
        os.kill(pid, signal.SIGKILL)
    while witness.qemus(uuid):
        time.sleep(0.002)


_RECORD = r"^sendto.*nlmsg_type=0x9c[456]"
_NOTE = r'^(?:write|rename|mkdir|fsync|openat.*"/run/virtaudit.*O_CREAT)'
# The points at which a task asks Open vSwitch's database: before the answer, and after it.
_SWITCH = r"^(?:connect|sendto).*(?:db\.sock|Open_vSwitch)"
_NO_AUDIT = r"auditctl -e 1|auditctl -s|systemctl start auditd"

HARMS = [
    Harm(
        "kill",
        r"^(?!write)",
        # At this point a macvtap exists that nobody has opened yet.
        often='^openat.*"/dev/tap',
        inject="signal=SIGKILL",
        dies=True,
    ),
    Harm(
        "term",
        every=3,
        strikes=r"^(?:openat|sendmsg|vfork|rename)",
        inject="signal=SIGTERM",
        dies=True,
    ),
    # Python turns this signal into an exception at the line that it runs at that moment.
    Harm(
        "interrupt",
        every=2,
        often="^rename.*state.json",
        strikes=r"^(?:openat|sendmsg|vfork|rename)",
        inject="signal=SIGINT",
        dies=True,
    ),
    Harm(
        "emfile",
        every=2,
        often="^socket.*NETLINK_ROUTE",
        strikes=r"^(?:openat|socket)",
        inject="error=EMFILE",
        says="[Tt]oo many open files",
    ),
    Harm(
        "enospc",
        every=3,
        strikes=_NOTE,
        inject="error=ENOSPC",
        says="No space left on device",
    ),
    Harm(
        "eperm",
        r'^(?:ioctl|openat.*"/dev/(?:net|tap|vhost))',
        inject="error=EPERM",
        says="[Oo]peration not permitted",
    ),
    Harm(
        "enobufs",
        every=4,
        often="^recvfrom.*NLMSG_ERROR.*NLM_F_CAPPED",
        strikes=r"^(?:sendto|sendmsg|recvfrom)",
        inject="error=ENOBUFS",
    ),
    Harm(
        "full",
        every=2,
        often="^rename.*state.json",
        strikes=r"^(?:flock|rename|openat.*/dev/)",
        action=lambda _uuid: host.fill_state(),
        mend=host.empty_state,
        around=host.small_state,
        # The second text is qemu's message.
        says="No space left on device|Failed to write pid file",
    ),
    Harm(
        "qemu-dies",
        strikes=r'^(?:vfork|connect.*qmp|(?:sendto|sendmsg).*\{\\"execute|recvfrom.*\{\\"(?:return|QMP))',
        action=_kill_qemu,
        says="qemu (?:has ended or crashed|did not start|ended as soon)|nobody listens|does not run",
    ),
    Harm(
        "audit-disabled",
        _RECORD,
        action=lambda _uuid: host.disable_audit(),
        mend=host.enable_audit,
        blind=True,
        says=_NO_AUDIT,
    ),
    Harm(
        "auditd-stopped",
        _RECORD,
        action=lambda _uuid: host.stop_auditd(),
        mend=host.start_auditd,
        blind=True,
        says=_NO_AUDIT,
    ),
    Harm(
        "logging-suspended",
        _RECORD,
        every=2,
        action=lambda _uuid: host.suspend_logging(),
        mend=host.resume_logging,
        around=host.small_log,
        blind=True,
        says="The daemon has suspended its logging",
    ),
    Harm(
        "backlog-full",
        _RECORD,
        action=lambda _uuid: host.fill_backlog(),
        mend=host.drain_backlog,
        around=host.small_backlog,
        blind=True,
        says=_NO_AUDIT,
    ),
    Harm(
        "switch-hangs",
        _SWITCH,
        action=lambda _uuid: switch.hang(),
        mend=switch.go_on,
        says="ovs-vswitchd did not apply a change",
    ),
    Harm(
        "database-gone",
        _SWITCH,
        action=lambda _uuid: switch.stop_database(),
        mend=switch.restart_database,
        says="Open vSwitch's database .*does not answer",
    ),
    Harm(
        "bridge-gone",
        r"^connect.*db\.sock",
        action=lambda _uuid: switch.remove_bridge(),
        mend=switch.add_bridge,
        says="as a port of vafault-ovs|is not a bridge of Open vSwitch",
    ),
]
