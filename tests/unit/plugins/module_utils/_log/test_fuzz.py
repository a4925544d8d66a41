# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mutated lines of real logs: what is read from one must stand in it, and no line ends the reader.

A short run belongs to the units. A million lines, alone, from the root of a checkout in a
collections tree::

    VIRTAUDIT_FUZZ_LINES=1000000 pytest tests/unit/plugins/module_utils/_log/test_fuzz.py
"""

from __future__ import annotations

import os
import random
import re

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.kernel import (
    KernelOpen,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import lines as log
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import parse as logged
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.scan import Line
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import line_of
from ansible_collections.virtaudit.qemu.tests.unit.support.reference import LIBVIRT_LOG
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

LINES = int(os.environ.get("VIRTAUDIT_FUZZ_LINES", "20000"))
SEED = int(os.environ.get("VIRTAUDIT_FUZZ_SEED", "3"))
# A trail takes so many lines before it is judged.
BATCH = 500

KERNEL = [
    b"type=SYSCALL msg=audit(1795450176.885:8539): arch=c000003e syscall=257 success=yes exit=4 a0=ffffff9c"
    b" a1=55dfe0f72933 a2=2 a3=0 items=1 ppid=16722 pid=16729 auid=4294967295 uid=0 gid=0 ses=4294967295"
    b' comm="ip" exe="/usr/bin/ip" key="probe"',
    b'type=PATH msg=audit(1795450176.885:8539): item=0 name="/dev/net/tun" inode=105 dev=00:06 mode=020600 ouid=0'
    b" ogid=0 rdev=0a:c8 nametype=NORMAL cap_fp=0",
    b"type=SYSCALL msg=audit(1795450176.886:8540): arch=c000003e syscall=16 success=yes exit=0 a0=4 a1=400454ca"
    b' a2=7f a3=0 items=0 ppid=1 pid=2 auid=1000 uid=0 ses=7 comm="ip" exe="/usr/bin/ip" key=(null)',
    b"type=SYSTEM_BOOT msg=audit(1795450177.000:3): pid=1 uid=0 auid=4294967295 ses=4294967295 msg='comm=\"x\"'",
    b'type=ANOM_ABEND msg=audit(1795450178.000:9000): auid=1 uid=0 gid=0 ses=1 pid=29975 comm="qemu" sig=11',
    b'type=AVC msg=audit(1795450178.100:9001): avc:  denied  { read } for  pid=29975 comm="qemu" name="x"'
    b" scontext=system_u:system_r:svirt_t:s0:c1,c2 tcontext=u:r:t:s0 tclass=file",
]
PIECES = [
    b"'",
    b'"',
    b" ",
    b"=",
    b"\x1d",
    b"\0",
    b"\xff",
    b"\n",
    b"(",
    b")",
    b":",
    b"?",
    b"msg='",
    b"type=VIRT_RESOURCE ",
    b" uuid=00000000-0000-0000-0000-00000000dead",
    b' new-net="52:54:00:00:de:ad"',
    b" res=success",
    b" res=failed",
    b"reason=attach",
    b"node=x ",
    b"9" * 40,
    b"-1",
    b"4A",
]
# Written once more, and not as the reader has it: fields apart by blanks, values in quotes or not.
FIELD = re.compile(rb'(?:^|\s)([A-Za-z][A-Za-z0-9_-]*)=("[^"]*"|[^\s"]*)(?=\s|$)')


def seeds() -> list[bytes]:
    story = Story("web01").machine_id().open().start().booted().open(ok=False)
    story.vm("a b", "c1e2f3a4-0001-4000-8000-000000000022").open().attach(fds=[1, 2])
    story.detach(ok=False).detach().close(fd=1).stop()
    ours = [line_of(item).rstrip("\n").encode() for item in story.items]
    return [*LIBVIRT_LOG.read_bytes().splitlines(), *ours, *KERNEL]


def mutate(rng: random.Random, known: list[bytes]) -> bytes:
    line = bytearray(rng.choice(known))
    for _count in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(line) + 1)
        what = rng.randrange(8)
        if what == 0:
            line[at : at + rng.randrange(1, 20)] = b""
        elif what == 1:
            line[at:at] = rng.choice(PIECES)
        elif what == 2 and at < len(line):
            line[at] ^= 1 << rng.randrange(8)
        elif what == 3:
            del line[at:]
        elif what == 4:
            other = rng.choice(known)
            begin = rng.randrange(len(other))
            line[at:at] = other[begin : begin + rng.randrange(60)]
        elif what == 5:
            line[at : at + 8] = rng.choice(PIECES)
        elif what == 6:
            time = b"(%d." % rng.randrange(10 ** rng.randrange(1, 14))
            line = bytearray(re.sub(rb"\(\d+\.", time, bytes(line), count=1))
        elif words := line.split(b" "):
            rng.shuffle(words)
            line = bytearray(b" ".join(words))
    return bytes(line)


def check(item: log.Item, line: bytes, before: bytes) -> None:
    """What a record says must be a field of its own line, outside of any other one's value."""
    assert item.event.encode() in line
    if isinstance(item, KernelOpen):
        assert b"pid=%d " % item.pid in line + before
        return
    if not isinstance(item, logged.Logged):
        return
    assert line.startswith((b"type=VIRT_", b"node="))
    text = line.partition(b"\x1d")[0].partition(b"msg='")[2]
    assert text.endswith(b"'")
    fields = {key.decode(): value for key, value in FIELD.findall(text[:-1])}
    assert set(item.record.fields) == set(fields)
    for key, value in item.record.fields.items():
        raw = fields[key].decode("utf-8", "surrogateescape")
        plain = None if raw in ("?", '"?"') else raw.strip('"')
        if value != plain:
            assert bytes.fromhex(raw).decode("utf-8", "surrogateescape") == value


def test_mutated_lines() -> None:
    known = seeds()
    rng = random.Random(SEED)  # noqa: S311
    trail, taken, accepted = Trail(details=True), 0, 0
    named: set[tuple[str, str]] = set()
    previous = b""
    for number in range(LINES):
        line = mutate(rng, known)
        item = log.parse_line(Line(line, previous))
        if item is not None:
            accepted += 1
            check(item, line, previous)
            trail.take(item)
            if isinstance(item, logged.Logged):
                fields = item.record.fields
                for mac in (fields.get("new-net"), fields.get("net")):
                    named.add(((fields.get("uuid") or "").lower(), (mac or "").lower()))
        previous = line if b"SYSCALL" in line else previous
        taken += 1
        if taken == BATCH or number == LINES - 1:
            trail.finish(1795450200.0)
            for grant in trail.grants():
                assert (grant.uuid, grant.mac) in named
                assert grant.result()["since"]
            for session in trail.sessions.values():
                assert session.result(True)["start"]
            for finding in trail.findings.all():
                assert finding.result()["message"]
            trail, taken = Trail(details=True), 0
            named = set()
    # Neither all were refused, nor all taken.
    assert LINES / 10 < accepted < LINES
