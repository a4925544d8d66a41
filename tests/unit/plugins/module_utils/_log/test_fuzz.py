# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mutated lines of real logs. The reader must return only what a line has, and no line may make it
fail.

The unit tests make a short run. This command makes a run of a million lines, in a checkout in a collections tree::

    VIRTAUDIT_FUZZ_LINES=1000000 pytest tests/unit/plugins/module_utils/_log/test_fuzz.py
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.kernel import (
    KernelOpen,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import lines as log
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import message, parse
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.clock import Clock
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.files import LogFile
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.items import Item
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.names import Names
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.scan import Line
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.unread import Unread
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import line_of
from ansible_collections.virtaudit.qemu.tests.unit.support.reference import LIBVIRT_LOG
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

LINES = int(os.environ.get("VIRTAUDIT_FUZZ_LINES", "20000"))
SEED = int(os.environ.get("VIRTAUDIT_FUZZ_SEED", "3"))
# The number of lines that a trail takes before it is judged.
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
# A second reader that works in another way: blanks separate the fields, and values may be in quotes.
OLD = re.compile(
    rb": exe=|='|path=[^\"][^=]* [^=]* exe=|type=VIRT_CONTROL (?!.*uuid=)|\"\"|\\\\"
)
ANOTHER = re.compile(
    rb"type=(?!VIRT_)[A-Z0-9_]+ (?:msg=)?audit\(|type=VIRT_(?!CONTROL|RESOURCE|MACHINE_ID)[A-Z_]+ |_TRANSPORT(?!\": \"audit\")"
    rb"|\"MESSAGE\": \"(?!VIRT_)[A-Z0-9_]+ "
)
FIELD = re.compile(rb'(?:^|\s)([A-Za-z][A-Za-z0-9_-]*)=("[^"]*"|[^\s"]*)(?=\s|$)')


def seeds() -> list[bytes]:
    story = Story("web01").machine_id().open().start().booted().open(ok=False)
    story.vm("a b", "c1e2f3a4-0001-4000-8000-000000000022").open().attach(fds=[1, 2])
    story.detach(ok=False).detach().close(fd=1).stop()
    ours = [line_of(item).rstrip("\n").encode() for item in story.items]
    return [*KERNEL, *LIBVIRT_LOG.read_bytes().splitlines(), *ours]


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


def other_forms(line: bytes) -> list[bytes]:
    """Return the same record in the forms that other programs make of it."""
    plain = line.decode("utf-8", "surrogateescape")
    head, _paren, body = plain.partition("): ")
    kind = head.partition("type=")[2].partition(" ")[0]
    event = head.partition("audit(")[2]
    journal = {
        "_TRANSPORT": "audit",
        "_HOSTNAME": "hv1",
        "_AUDIT_ID": event.partition(":")[2],
        "__REALTIME_TIMESTAMP": event.partition(":")[0].replace(".", "") + "000",
        "MESSAGE": f"{kind} {body.partition(chr(29))[0]}",
    }
    texts = [
        f"May 12 12:47:59 hv1 audispd: {plain}".replace("\x1d", "#035"),
        f"<13>1 2024-05-12T12:47:59.1+02:00 hv1 audisp-syslog - - - {plain}",
        f"/var/log/audit/audit.log.1:17:{plain}",
        f"May 12 12:47:59 hv1 audit[1661]: {kind} {body}",
        f"{kind} {body}",
        json.dumps(journal),
        json.dumps({"event": {"original": plain}, "host": {"name": "hv2"}}),
        f"    {plain}  ",
        plain.replace('"', '\\"'),
        plain.replace("\x1d", ""),
        plain.replace("\x1d", " "),
        plain.replace("pid=", "user pid=", 1).replace(" exe=", ": exe="),
    ]
    return [text.encode("utf-8", "surrogateescape") for text in texts]


def check(item: Item, line: bytes, before: bytes) -> None:
    """Everything that a record says must be a field of its own line, and not a part of another field's value."""
    if isinstance(item, KernelOpen):
        assert item.event.encode() in line
        assert b"pid=%d " % item.pid in line + before
        return
    if not isinstance(item, parse.Logged):
        return
    if not line.startswith((b"type=VIRT_", b"node=")) or OLD.search(line):
        check_loosely(item, line)
        return
    assert item.event.encode() in line
    text = line.partition(b"\x1d")[0].rstrip(b"\r").partition(b"msg='")[2]
    text = text[: text.rindex(b"'") + 1]
    fields = {key.decode(): value for key, value in FIELD.findall(text[:-1])}
    assert set(item.record.fields) == set(fields)
    for key, value in item.record.fields.items():
        raw = fields[key].decode("utf-8", "surrogateescape")
        plain = None if raw in ("?", '"?"') else raw.strip('"')
        if value != plain:
            assert bytes.fromhex(raw).decode("utf-8", "surrogateescape") == value


def check_loosely(item: parse.Logged, line: bytes) -> None:
    """The line has each value after its field's name, plain or in hex."""
    text = line.decode("utf-8", "surrogateescape")
    try:
        text += json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        pass
    text = text.replace('\\"', '"').replace("\\\\", "\\")
    for key, value in item.record.fields.items():
        assert f"{key}=" in text
        if value is not None and value.isprintable() and "\\" not in value:
            raw = value.encode("utf-8", "surrogateescape").hex().upper()
            assert value in text or raw in text


def check_glance(line: bytes) -> None:
    """The quick reading of a record's text gives the result of the close reading, or nothing."""
    match = parse._VIRT.fullmatch(line.decode("utf-8", "surrogateescape"))
    if match is None:
        return
    record = message._at_a_glance(match["type"], match["text"])
    if record is not None:
        closely = message._closely(match["type"], match["text"])
        assert closely is not None
        assert record.type == closely.type
        assert list(record.fields.items()) == list(closely.fields.items())


def is_said(line: bytes, read: log.Read) -> bool:
    """The reader never ignores a line that names a record of a VM, unless it is another record that contains the word."""
    if b"VIRT_" not in line or read.problem is not None:
        return True
    return bool(read.items) or ANOTHER.search(line) is not None


def test_mutated_lines(tmp_path: Path) -> None:
    known = seeds()
    known += [form for line in known[-40:] for form in other_forms(line)]
    rng = random.Random(SEED)  # noqa: S311
    trail, batch, accepted = Trail(details=True), list[bytes](), 0
    clock = Clock(1795450200.0)
    named: set[tuple[str, str]] = set()
    previous = b""
    for number in range(LINES):
        line = mutate(rng, known)
        read = log.read_line(Line(line, previous), clock)
        assert is_said(line, read), line
        check_glance(line)
        accepted += bool(read.items)
        for item in read.items:
            check(item, line, previous)
            trail.take(item)
            if isinstance(item, parse.Logged):
                fields = item.record.fields
                for mac in (fields.get("new-net"), fields.get("net")):
                    named.add(((fields.get("uuid") or "").lower(), (mac or "").lower()))
        previous = line if b"SYSCALL" in line else previous
        batch.append(line)
        if len(batch) == BATCH or number == LINES - 1:
            trail.finish(1795450200.0)
            for grant in trail.grants():
                assert (grant.uuid, grant.mac) in named
                assert grant.result()["since"]
            for session in trail.sessions.values():
                assert session.result(True)["start"]
            for finding in trail.findings.all():
                assert finding.result()["message"]
            check_unread(tmp_path / "log", batch)
            trail, named = Trail(details=True), set()
            batch.clear()
    # Some lines were refused, and some were accepted.
    assert LINES / 10 < accepted < LINES


def check_unread(path: Path, batch: list[bytes]) -> None:
    """In a log with these lines, exactly the broken ones are counted as unread."""
    content = b"\n".join(batch)
    path.write_bytes(content)
    clock = Clock(1795450200.0)
    broken = sum(
        log.read_line(Line(line), clock).problem is not None
        for line in re.split(rb"[\n\0]", content)
        if b"VIRT_" in line
    )
    file, unread = LogFile(str(path)), Unread()
    for _item in log.read_log(file, [log.VIRT_NEEDLE], unread):
        pass
    file.close()
    assert sum(each.lines for each in unread) == broken


@given(st.lists(st.integers(0, 10_000), max_size=40, unique=True), st.integers(0, 11))
def test_any_part_of_a_log_gives_the_same_answer_in_any_form(
    numbers: list[int], form: int
) -> None:
    """The result of auditd's form, or a message."""
    lines = [line for line in LIBVIRT_LOG.read_bytes().splitlines() if b"VIRT_" in line]
    part = [lines[number] for number in sorted({each % len(lines) for each in numbers})]
    clock = Clock(1795450200.0)
    answers = []
    for each in (part, [other_forms(line)[form] for line in part]):
        trail, names = Trail(), Names()
        reads = [log.read_line(Line(line), clock) for line in each]
        assert not any(read.problem for read in reads)
        items = [names.unify(item) for read in reads for item in read.items]
        # A long time later, because a form without times gets the time of the reading.
        trail.read(items, 1795990000.0)
        grants = [(grant.vm, grant.mac, len(grant.devices)) for grant in trail.grants()]
        codes = sorted(finding.code for finding in trail.findings.all())
        ends = [(session.vm, session.end) for session in trail.sessions.values()]
        answers.append((sorted(grants), codes, sorted(map(str, ends))))
    assert answers[0] == answers[1]
