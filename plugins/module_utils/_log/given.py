# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens the logs that an operator names: files, directories, globs and archives, in any form."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import typing as t

from .archive import is_archive, members
from .files import BROKEN, LogFile, open_all
from .grepped import names_files
from .items import Item, serial_of
from .lines import read_line
from .marked import is_marked
from .packed import foreign_packing
from .parse import Logged, is_root
from .rotations import oldest_first
from .scan import in_head
from .unread import Unread, first_of

_PLAIN_LINE = re.compile(
    rb"(?:node=\S+ )?type=(?![A-Z]+250[0-2])(?:[A-Z][A-Z0-9_]*|UNKNOWN\[(?!250[0-2])\d+\]) msg=audit\(\d|----|time->|\s*\Z"
)
_LOG_NAME = re.compile(r"audit[^/]*\.log[^/]*\Z")
# The root of a file system has this directory, and /var/log/audit often is a file system of its own.
_NO_LOGS = "lost+found"
# The first records of a log in another form than auditd's have one of these texts.
_NEEDLES = (b"VIRT_", b"audit(", b"type=250", b"AUDIT250", b"<audit-250")
_SAMPLES, _SAMPLE_BYTES = 12, 2048
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"
# The beginning of a log may have no record of a VM. Then these texts show whether it is an audit
# log.
_AUDIT = re.compile(
    rb"audit\(\d{1,11}\.\d{1,3}:\d{1,20}\)|(?:VIRT_\w+|(?:AUDIT|<audit-)250[0-2]>?) (?:user )?pid=|_TRANSPORT\"? ?[=:] ?\"?audit\b|\"ID\": ?\"\d+\.\d+:\d+\""
)


_EVENT = re.compile(
    rb"^(?:node=\S+ )?type=(?!DAEMON_)\S+ msg=audit\((\d{1,11}\.\d{1,3}):(\d{1,20})\)",
    re.MULTILINE,
)


@contextlib.contextmanager
def given_logs(paths: t.Sequence[str]) -> t.Iterator[tuple[list[LogFile], Unread]]:
    """Open logs by their paths. Return those that are audit logs, oldest first."""
    unread = Unread()
    with contextlib.ExitStack() as stack:
        found: list[LogFile] = []
        for log in open_all(_expanded(paths, unread), stack, unread):
            try:
                parts = members(log, stack) if is_archive(log) else None
            except BROKEN as exc:
                unread.log(log.path, f"the archive cannot be read: {exc}")
                continue
            if parts is None:
                found += [log] if _is_log(log, unread) else []
                continue
            # An archive of a whole host also has other files. Their names show that they are not
            # audit logs.
            logs = [
                part
                for part in parts
                if _is_log(part, unread if _LOG_NAME.search(part.path) else None)
            ]
            if not logs:
                unread.log(log.path, "no file in the archive is an audit log")
            found += logs
        yield oldest_first(found), unread


def _expanded(paths: t.Iterable[str], unread: Unread) -> t.Iterator[str]:
    """Yield the files that paths, directories and globs stand for."""
    for path in paths:
        if os.path.isdir(path):
            yield from _files_in(path, unread)
        elif re.search(r"[*?\[]", path) and not os.path.lexists(path):
            matches = sorted(glob.glob(path, recursive=True))
            if not matches:
                unread.log(path, "no file matches")
            for each in matches:
                if not os.path.isdir(each):
                    yield each
                elif "**" not in path and os.path.basename(each) != _NO_LOGS:
                    yield from _files_in(each, unread)
        else:
            yield path


def _files_in(path: str, unread: Unread) -> list[str]:
    try:
        names = sorted(os.listdir(path))
    except OSError as exc:
        unread.log(path, exc.strerror or str(exc))
        return []
    names = [name for name in names if not name.startswith(".") and name != _NO_LOGS]
    inner = [name for name in names if os.path.isdir(os.path.join(path, name))]
    if inner:
        unread.log(
            path,
            "it has directories, and the module reads only the files beside them: give those that have logs, too "
            f"({first_of(inner)})",
        )
    paths = [os.path.join(path, name) for name in names]
    # The log to which a broken link leads may be elsewhere.
    files = [each for each in paths if os.path.isfile(each) or not os.path.exists(each)]
    if not files:
        unread.log(path, "the directory has no file")
    return files


def _is_log(log: LogFile, unread: Unread | None) -> bool:
    """Read the beginning of a file to see which form it has, and when its first record was made."""
    head = log.head()
    problem = _problem(log, head)
    if problem is not None:
        if unread is not None:
            unread.log(log.path, problem)
        return False
    lines = head.removeprefix(_BOM).split(b"\n")
    if len(lines) > 1:
        # The last line may be incomplete.
        lines.pop()
    log.plain = not head.startswith(_BOM) and all(
        _PLAIN_LINE.match(line.lstrip(b"\0").rstrip(b"\r"))
        for line in (*lines, *_sampled(log))
    )
    log.grepped = not log.plain and names_files(head)
    if log.plain:
        found = _plain_events(head)
    else:
        log.hide()
        items = _first_items(log)
        found = [(item.time, serial_of(item.event)) for item in items]
        log.hosts = {item.node for item in items}
        log.begins = min(found, default=None)
    falls = sum(later < earlier for earlier, later in zip(found, found[1:]))
    rises = sum(later > earlier for earlier, later in zip(found, found[1:]))
    log.newest_first = not log.grepped and falls > 1 and falls > 4 * rises
    return True


def _sampled(log: LogFile) -> t.Iterator[bytes]:
    """Yield some lines from all over a log, because another program may have written its later part."""
    step = max(log.size // _SAMPLES, _SAMPLE_BYTES)
    for end in () if log.compressed else range(log.size, 0, -step):
        with contextlib.suppress(*BROKEN):
            text = log.read_at(max(0, end - _SAMPLE_BYTES), _SAMPLE_BYTES)
            # The first and the last one may be cut.
            yield from text.split(b"\n")[1:-1]


def _problem(log: LogFile, head: bytes) -> str | None:
    """Return why a file is not a readable audit log, or ``None`` if it is one or is empty."""
    if head.startswith(_UTF16) or _is_wide(head[:40]):
        return "it is UTF-16: change it with iconv -f UTF-16 -t UTF-8"
    foreign = foreign_packing(head)
    if foreign is not None:
        return f"it is {foreign}"
    if not head:
        return _why_empty(log)
    if b"\r" in head and b"\n" not in head:
        return "its lines end in CR alone: change them with tr '\\r' '\\n'"
    if _AUDIT.search(head) is None and not _anywhere(log):
        # The import is here because most files are audit logs and do not need it.
        from .refused import refusal

        reason = refusal(head.decode("utf-8", "replace"))
        return reason or "it has no audit record"
    return None


def _is_wide(head: bytes) -> bool:
    """Tell whether every second byte is a NUL, and not also those between them, as a crash of the host leaves them."""
    nulls = (head[::2].count(b"\0"), head[1::2].count(b"\0"))
    return min(nulls) == 0 and max(nulls) > 15


def _why_empty(log: LogFile) -> str | None:
    try:
        next(log.blocks(1), None)
    except BROKEN as exc:
        return str(exc.strerror or exc)
    return None


def _anywhere(log: LogFile) -> bool:
    """Tell whether a file has an audit record anywhere after its beginning."""
    rest = b""
    with contextlib.suppress(*BROKEN):
        for block in log.blocks(1 << 20):
            if _AUDIT.search(rest + block):
                return True
            rest = block[-200:]
    return False


def _plain_events(head: bytes) -> list[tuple[float, int]]:
    return [(float(time), int(serial)) for time, serial in _EVENT.findall(head)]


def _first_items(log: LogFile) -> list[Item]:
    """Return the records at the beginning of a log, in its order, without those that prove nothing."""
    lines = in_head(log.head(), _NEEDLES)
    items = [item for line in lines for item in read_line(line, log.clock).items]
    # A marked boot has the time of a record beside it.
    return [
        item
        for item in items
        if (is_root(item) if isinstance(item, Logged) else not is_marked(item))
    ]
