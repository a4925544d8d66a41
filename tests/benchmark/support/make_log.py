# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes an audit log like that of a busy hypervisor. Most events are programs and logins, and a few are of VMs.

    make_log.py MEGABYTES PATH FIRST LAST

One event in a hundred is a step of a VM. FIRST and LAST are the UUIDs of the VMs that start first and last. Both still
run at the end.
"""

from __future__ import annotations

import random
import sys
import typing as t
from pathlib import Path

_VMS = 100
_NAMES = '\x1dUID="root" AUID="alice"\n'

Emit = t.Callable[[str, str], None]


def program(rng: random.Random, head: str) -> str:
    """Return the six records of an execve that a rule records, all of one event."""
    path = (
        'type=PATH {} item={} name="{}" inode={} dev=fe:01 mode=0100755 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL'
        ' cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0\x1dOUID="root" OGID="root"\n'
    )
    return (
        f"type=SYSCALL {head} arch=c000003e syscall=59 success=yes exit=0 a0=55e4c8d5b2a0 a1=55e4c8d5a1b0"
        f" a2=55e4c8d60f20 a3=8 items=2 ppid={rng.randrange(99999)} pid={rng.randrange(99999)} auid=1000 uid=0 gid=0"
        ' euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3 comm="ls" exe="/usr/bin/ls" subj=unconfined'
        ' key="exec"\x1dARCH=x86_64 SYSCALL=execve AUID="alice" UID="root" GID="root" EUID="root" SUID="root"\n'
        f'type=EXECVE {head} argc=3 a0="ls" a1="-l" a2="/var/lib/vms"\n'
        f'type=CWD {head} cwd="/root"\n'
        + path.format(head, 0, "/usr/bin/ls", rng.randrange(999999))
        + path.format(head, 1, "/lib64/ld-linux-x86-64.so.2", rng.randrange(999999))
        + f"type=PROCTITLE {head} proctitle=6C73002D6C002F7661722F6C69622F766D73\n"
    )


def login(rng: random.Random, head: str) -> str:
    """Return the record of a step of cron or sshd."""
    return (
        f"type=USER_ACCT {head} pid={rng.randrange(99999)} uid=0 auid=4294967295 ses=4294967295 subj=unconfined"
        ' msg=\'op=PAM:accounting grantors=pam_permit acct="root" exe="/usr/sbin/cron" hostname=? addr=?'
        ' terminal=cron res=success\'\x1dUID="root" AUID="unset"\n'
    )


def life(name: str, uuid: str) -> t.Iterator[str]:
    """Yield the records of a VM with two NICs. It starts, NICs come and go, and it stops."""
    vm = f'vm="{name}" uuid={uuid}'
    end = ' exe="/usr/bin/python3.11" hostname=? addr=10.0.0.1 terminal=? res=success'
    net = "VIRT_RESOURCE virt=kvm resrc=net"

    def nic(number: int, how: str, fd: int) -> t.Iterator[str]:
        mac = f"52:54:00:{uuid[-4:-2]}:{uuid[-2:]}:{number:02x}"
        dev = f"vt{mac.replace(':', '')}"
        yield f'{net} reason=open {vm} net={mac} path="/dev/net/tun" rdev=0A:C8 dev="{dev}"{end}'
        yield f'{net} reason=open {vm} net={mac} path="/dev/vhost-net" rdev=0A:EE dev="{dev}"{end}'
        yield f'{net} reason={how} {vm} old-net="?" new-net="{mac}" fds={fd},{fd + 1}{end}'

    yield f"VIRT_MACHINE_ID virt=kvm {vm} vm-ctx=+0:+0 img-ctx=+0:+0 model=dac{end}"
    yield from nic(1, "start", 7)
    yield from nic(2, "start", 9)
    yield f"VIRT_CONTROL virt=kvm op=start reason=booted {vm} vm-pid=4711{end}"
    for _round in range(3):
        yield from nic(3, "attach", 29)
        mac = f"52:54:00:{uuid[-4:-2]}:{uuid[-2:]}:03"
        yield f'{net} reason=detach {vm} old-net="{mac}" new-net="?"{end}'
        for path, rdev, fd in (("net/tun", "0A:C8", 29), ("vhost-net", "0A:EE", 30)):
            yield f'{net} reason=close {vm} net={mac} path="/dev/{path}" rdev={rdev} dev="x" fd={fd}{end}'
    yield f"VIRT_CONTROL virt=kvm op=stop reason=shutdown {vm} vm-pid=4711{end}"


def stories(rng: random.Random, first_uuid: str) -> t.Iterator[str]:
    """Yield the records of several VMs at the same time, for ever. The very first VM never stops."""
    yield from list(life("first", first_uuid))[:8]
    running: list[t.Iterator[str]] = []
    count = 0
    while True:
        if len(running) < _VMS:
            count += 1
            uuid = f"c1e2f3a4-0001-4000-8000-{count % 0xFFFF + 1:012x}"
            running.append(life(f"vm{count % 0xFFFF + 1}", uuid))
        one = rng.choice(running)
        text = next(one, None)
        if text is None:
            running.remove(one)
        else:
            yield text


def main(megabytes: int, path: str, first: str, last: str) -> None:
    rng = random.Random(1)  # noqa: S311
    steps = stories(rng, first)
    milliseconds, serial, written = 1_795_000_000_000, 0, 0
    with Path(path).open("w", encoding="ascii") as log:

        def head() -> str:
            nonlocal milliseconds, serial
            milliseconds += rng.randrange(50)
            serial += 1
            return (
                f"msg=audit({milliseconds // 1000}.{milliseconds % 1000:03}:{serial}):"
            )

        def virt(text: str) -> str:
            kind, _blank, rest = text.partition(" ")
            return f"type={kind} {head()} pid=4511 uid=0 auid=1000 ses=3 msg='{rest}'{_NAMES}"

        while written < megabytes * 1_000_000:
            chance = rng.random()
            if chance < 0.01:
                written += log.write(virt(next(steps)))
            elif chance < 0.6:
                written += log.write(program(rng, head()))
            else:
                written += log.write(login(rng, head()))
        for text in list(life("last", last))[:8]:
            log.write(virt(text))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
