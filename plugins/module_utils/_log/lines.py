# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the lines of the audit log that matter for VMs and their network devices."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._audit.kernel import Majors, parse_path, parse_tunsetiff
from .._audit.record import MESSAGE_TYPES
from .backwards import Lookup, lines_backwards
from .clock import Clock
from .damaged import OTHERS, broken_type, without_head
from .files import BROKEN, LogFile
from .forwards import lines_with
from .grepped import in_order_of_files
from .items import Alert, Boot, Forged, HeaderHost, Item, Mark, Other
from .marked import with_hosts
from .marks import mark_of
from .message import says_what
from .parse import HEAD, Logged, parse_virt
from .scan import Line
from .unread import Unread

if t.TYPE_CHECKING:
    from .forms import Form
    from .journal import Sender

_ANY = re.compile(HEAD % "[A-Z_0-9]+", re.ASCII)

VIRT_NEEDLE = b"VIRT_"
# A daemon that does not know a type's name writes type=UNKNOWN[2501].
NAMELESS_NEEDLE = b"[250"
# Character devices, and TUNSETIFF.
KERNEL_NEEDLES = (b"mode=020", b"400454ca a2=")
ALERT_NEEDLES = (b"type=AVC msg=audit(", b"type=ANOM_")
# In logs that auditd did not write: types by number or broken, and boots of a journal.
OTHER_NEEDLES = (
    b" uuid=",
    b"type=250",
    b"AUDIT250",
    b"AUDIT1127",
    b"<audit-250",
    b"<audit-1127>",
    b'"virt_',
    b": SYSTEM_BOOT ",
    b"=SYSTEM_BOOT ",
    b'"SYSTEM_BOOT ',
    b"-- Boot ",
    b"-- Reboot --",
)


# A quick test for a record about a VM that root sent, with a valid UUID and valid MACs.
_A_UUID = rb"[%(x)s]{8}(?:-[%(x)s]{4}){3}-[%(x)s]{12}"
_A_MAC = rb"[%(x)s]{2}(?::[%(x)s]{2}){5}"
_CASES = ({b"x": b"0-9a-f"}, {b"x": b"0-9A-F"})
_WHOLE = re.compile(
    rb"(?:node=([^\s'\"]+) )?type=VIRT_[A-Z_]+ msg=audit\((([\d.]+):\d+)\): pid=\d+ uid=0 auid=\d+ ses=\d+(?: subj=[^'\x1d]*?)?"
    # The lookahead tries only the first uuid=. Otherwise a text with many of them would take quadratic time.
    rb" msg='(?=([^'&\x1b\x1d\n]*? uuid=))\4(?:%b)((?: (?:old-|new-)?net=(?:\?|\"\?\"|(\"?)(?:%b)\6))*) "
    rb"(?:[^'&\x1b\x1d\n]* )?res=(?:success|failed)'(?:\x1d[^']*)?\r?\Z"
    % (
        b"|".join(_A_UUID % case for case in _CASES),
        b"|".join(_A_MAC % case for case in _CASES),
    )
)
_NEAR_BYTES = 4096
_NUMBERS = frozenset(map(str, MESSAGE_TYPES.values()))
_UNKNOWN = (
    "it does not tell in known words (uuid, op, resrc, reason and what they need) which VM it is about, or what "
    "happened to the VM or to which of its resources: the record is broken, or a newer program wrote it"
)


class Read(t.NamedTuple):
    """What a line gives: records in order, and the reason if a record of a VM could not be read."""

    items: t.Sequence[Item] = ()
    problem: str | None = None


def parse_line(line: Line, majors: Majors | None = None) -> Item | None:
    """Read a line that has auditd's form. Return ``None`` if the line does not matter.

    ``majors`` are known only for this host's logs.
    """
    return _parse(_text(line), line.before, majors)


def _text(line: Line) -> str:
    # A log that was edited or copied with Windows has a CR at the end of each line.
    return line.text.decode("utf-8", "surrogateescape").rstrip("\r")


def _parse(text: str, before: bytes, majors: Majors | None) -> Item | None:
    if text.startswith("type=VIRT_"):
        return parse_virt(text)
    match = _ANY.match(text)
    if match is None:
        return None
    kind = match["type"]
    if kind in MESSAGE_TYPES:
        return parse_virt(text)
    if kind.isdigit():
        return None
    if kind == "PATH":
        return parse_path(text, match, before, majors)
    if kind == "SYSCALL":
        return parse_tunsetiff(text, match)
    event, time, node = match["event"], float(match["time"]), match["node"]
    if kind == "AVC" or kind.startswith("ANOM_"):
        return Alert(event, time, node, kind, text[match.end() :].partition("\x1d")[0])
    if kind.startswith("DAEMON_"):
        return Mark(event, time, node, daemon=True) if kind == "DAEMON_START" else None
    mark = mark_of(text, match)
    boots = kind == "SYSTEM_BOOT" and not isinstance(mark, Forged)
    return Boot(event, time, node) if boots else mark


def read_line(line: Line, clock: Clock, majors: Majors | None = None) -> Read:
    """Read a line in any form. If it says something about VMs, return that or report it as unread."""
    item = parse_line(line, majors)
    if isinstance(item, Mark):
        return Read((item,), broken_type(_text(line)))
    if item is not None:
        return Read((item,)) if _says_what(item) else Read(problem=_UNKNOWN)
    text = _text(line)
    match = _ANY.match(text)
    if match is not None and not _is_of_vm(match["type"]):
        # A record of another type. Its content does not matter.
        return Read(problem=broken_type(text))
    # The import is here because auditd's own log does not need it.
    from .forms import read_form

    form = read_form(text, line.before.decode("utf-8", "surrogateescape"), clock)
    if form.boot:
        event = f"{clock.last:.3f}:0"
        return Read((Boot(event, clock.last, None, boot_id=form.boot_id),))
    items: list[Item] = []
    problem = form.problem
    for each in form.lines:
        found = _parse(each, b"", majors)
        if found is None:
            head = _ANY.match(each)
            if head is None or _is_of_vm(head["type"]):
                problem = problem or _broken(each)
            continue
        if not _says_what(found):
            problem = problem or _UNKNOWN
            continue
        found = _of_sender(found, form.sender, clock)
        if found is None:
            continue
        if form.host is not None and found.node is None:
            found = dataclasses.replace(found, node=HeaderHost(form.host))
        clock.last = found.time
        items.append(found)
    items[:0] = _boot_before(items, form, clock)
    if not (items or problem):
        # The first line of a log may be the rest of a record.
        begins = line.offset == 0 and not text.startswith("{")
        problem = broken_type(text) or (None if begins else without_head(text))
    return Read(items, problem)


def _boot_before(items: t.Sequence[Item], form: Form, clock: Clock) -> list[Boot]:
    """Return the boot before the records of a journal's entry, if the entry names another boot than those before it."""
    boot_id = form.boot_id if form.sender is None else None
    if not items or boot_id is None or not clock.booted(form.host, boot_id):
        return []
    return [Boot(f"{items[0].time:.3f}:0", items[0].time, items[0].node)]


def _of_sender(item: Item, sender: Sender | None, clock: Clock) -> Item | None:
    """Return a record with the user that the journal names and, if a program wrote the line, with the journal's time."""
    if sender is None:
        return item
    if not isinstance(item, Logged):
        # It would show a boot or a serial number of the kernel, but any user can write such a line.
        kernels = sender.time is None and isinstance(item, Forged)
        return item if kernels else None
    logged = dataclasses.replace(item, uid=sender.uid, user=None)
    if sender.time is None:
        return logged
    time = sender.time or clock.written()
    return dataclasses.replace(logged, time=time, event=f"{time:.3f}:0")


def _says_what(item: Item) -> bool:
    return not isinstance(item, Logged) or says_what(item.record)


def _is_of_vm(kind: str) -> bool:
    if kind.startswith("VIRT_"):
        return kind not in OTHERS
    return kind in _NUMBERS


def _broken(text: str) -> str:
    if not re.search(r"' *$|'\x1d|'[ #^\\][\w\]\\]*[A-Z]=", text):
        return "the record is cut"
    if re.search(r" uid=[a-z_]", text):
        return (
            "it has the user's name in place of the number, and another host may give that name to another user: "
            "give the host's audit.log"
        )
    return "the record is broken"


def read_log(
    log: LogFile,
    needles: t.Sequence[bytes],
    unread: Unread,
    majors: Majors | None = None,
) -> t.Iterator[Item]:
    """Yield what matters in a log, first record first. Add to ``unread`` what cannot be read."""
    items = _read_log(log, needles, unread, majors)
    return items if log.plain else with_hosts(items)


def _read_log(
    log: LogFile,
    needles: t.Sequence[bytes],
    unread: Unread,
    majors: Majors | None,
) -> t.Iterator[Item]:

    def read(line: Line) -> t.Sequence[Item]:
        items, problem = read_line(line, log.clock, majors)
        if problem is not None:
            unread.line(log, line.offset, problem)
        return items

    lines = lines_with(log, needles)
    log.clock.begin()
    try:
        if log.grepped:
            yield from in_order_of_files(lines, read)
        for line in lines:
            yield from read(line)
    except BROKEN as exc:
        unread.log(log.path, f"it breaks off: {exc}")


def last_mark(log: LogFile) -> Mark | None:
    """Return the last record in a log to which the kernel gave a number."""
    try:
        tail = log.tail()
    except BROKEN:
        return None
    # Nearly always the last few lines have such a record. The first of these lines may be cut.
    near = re.split(rb"[\n\0]", tail[-_NEAR_BYTES:])[1:]
    return _last_of(near) or _last_of(re.split(rb"[\n\0]", tail))


def _last_of(lines: t.Sequence[bytes]) -> Mark | None:
    return next((mark for line in reversed(lines) for mark in marks(line)), None)


def marks(text: bytes) -> t.Iterator[Mark]:
    """Yield the records in a part of a log to which the kernel gave a number."""
    for _kind, mark in typed_marks(text):
        yield mark


def typed_marks(text: bytes) -> t.Iterator[tuple[str, Mark]]:
    """Yield the same records, each with its type. The daemon numbers its own records apart from these."""
    for line in re.split(r"[\n\0]", text.decode("utf-8", "surrogateescape")):
        match = _ANY.match(line)
        if match is not None and not match["type"].startswith("DAEMON_"):
            yield match["type"], mark_of(line, match)


def read_backwards(
    log: LogFile,
    needles: t.Sequence[bytes],
    unread: Unread,
    lookup: Lookup | None = None,
) -> t.Iterator[Item]:
    """Yield the records with one of ``needles``, last first. Read only as far as the caller asks.

    For the records of other VMs, only make sure that they can be read.
    """
    clock = log.clock
    try:
        for line in lines_backwards(log, [*needles, VIRT_NEEDLE], lookup):
            other = VIRT_NEEDLE in line.text and not any(
                needle in line.text for needle in needles
            )
            whole = _WHOLE.match(line.text) if other else None
            if whole is not None and whole[5].count(b"net=") == line.text.count(
                b"net="
            ):
                node = whole[1].decode("utf-8", "surrogateescape") if whole[1] else None
                yield Other(whole[2].decode("ascii"), float(whole[3]), node)
                continue
            items, problem = read_line(line, clock)
            if problem is not None:
                unread.line(log, line.offset, problem)
            for item in reversed(items):
                # Another form of log may write the needle with other letters.
                keep = isinstance(item, Logged) or not other
                yield item if keep else Other(item.event, item.time, item.node)
    except BROKEN as exc:
        unread.log(log.path, f"it breaks off: {exc}")
