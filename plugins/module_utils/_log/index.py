# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers where in a large log the records of each VM are, so that a later task need not search for them.

An index is a cache. Only root can use it, it is a file apart from the log, and it holds only places. The module
drops an index that was made of another log. It compares device, inode and size, hashes of the log's beginning,
of the bytes before the index's end and of pieces between them, and, if the log has not grown, the time of its
last write. It looks at each place again before it relies on it. If a place does not fit, it searches the log as
if there were no index. The file has a header of fixed size (JSON), a table of (hash of a term, first place,
number of places) in the order of the hashes, and the places, each as (offset, length).
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import json
import os
import stat
import struct
import typing as t

from .falls import Falls, Place
from .files import BROKEN, LogFile
from .items import Boot, Mark
from .lines import VIRT_NEEDLE, read_line
from .parse import Logged, is_root, macs_of, uuid_of
from .scan import Line

DIRECTORY = "/var/cache/virtaudit"
_KEPT = 16
_VERSION = 4
_HEADER_BYTES = 1024
_ROW = struct.Struct(">8sQI")
_PLACE = struct.Struct(">QI")
_PIECES, _PIECE_BYTES, _END_BYTES = 64, 64, 1 << 16

BOOT, BROKEN_LINE, UNTRUSTED = b"boot", b"broken", b"untrusted"
_ALWAYS = (BOOT, BROKEN_LINE, UNTRUSTED)


def terms_of(logged: Logged) -> set[bytes]:
    """Return the terms by which a record can be found."""
    vm = logged.record.fields.get("vm")
    texts = {f"mac={mac}" for mac in macs_of(logged)}
    texts |= {f"uuid={uuid_of(logged)}", f"vm={vm}"}
    return {text.encode("utf-8", "surrogateescape") for text in texts}


class Index:
    """The places of the records in the first ``covered`` bytes of a log."""

    def __init__(self, content: bytes, header: dict[str, t.Any]) -> None:
        self.covered: int = header["covered"]
        self._content, self._rows = content, header["rows"]

    def lines(
        self, log: LogFile, terms: t.Iterable[bytes], before: int
    ) -> list[Line] | None:
        """Return the lines that have one of the terms and begin ``before`` an offset, in order.

        Return ``None`` if the index does not fit the log. The lines at a boot, the unreadable lines, and the lines that a
        user other than root sent are always among the lines.
        """
        places = {place for term in (*terms, *_ALWAYS) for place in self._places(term)}
        found = []
        for offset, size in sorted(places):
            if offset >= before:
                break
            text = log.read_at(max(0, offset - 1), size + 2)
            begin = text[:1] in (b"\n", b"\0") if offset else True
            text = text[1:] if offset else text
            if (
                not begin
                or len(text) < size
                or text[size : size + 1] not in (b"\n", b"\0", b"")
            ):
                return None
            if any(separator in text[:size] for separator in (b"\n", b"\0")):
                return None
            found.append(Line(text[:size], b"", offset))
        return found

    def _places(self, term: bytes) -> list[Place]:
        key = _hash(term)
        rows = _Rows(self._content, self._rows)
        number = bisect.bisect_left(rows, key)
        if number >= len(rows) or rows[number] != key:
            return []
        _key, first, count = _ROW.unpack_from(self._content, number * _ROW.size)
        start = self._rows * _ROW.size + first * _PLACE.size
        return [
            _PLACE.unpack_from(self._content, start + each * _PLACE.size)
            for each in range(count)
        ]


class _Rows(t.Sequence[bytes]):
    """The hashes of the table, in order."""

    def __init__(self, content: bytes, count: int) -> None:
        self._content, self._count = content, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: t.Any) -> t.Any:
        start = number * _ROW.size
        return self._content[start : start + 8]


def load(log: LogFile) -> Index | None:
    """Return the index of a log, or ``None`` if no index fits the log."""
    path = _path(log)
    if path is None or not _is_private(DIRECTORY):
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(*BROKEN, ValueError, KeyError, TypeError, struct.error):
        with open(fd, "rb") as handle:
            content = handle.read()
        header = json.loads(content[:_HEADER_BYTES])
        body = content[_HEADER_BYTES:]
        covered = header["covered"]
        fits = (
            header["version"] == _VERSION
            and 0 < covered <= log.size
            and header["log"] == _state(log, covered)
            and (log.size > header["written"][0] or _written(log) == header["written"])
            and header["body"] == hashlib.sha256(body).hexdigest()
        )
        return Index(body, header) if fits else None
    return None


def build(log: LogFile, lines: t.Iterable[Line]) -> Index | None:
    """Make the index of a log from all of its ``lines`` that matter, and write it.

    Raise what :meth:`LogFile.blocks` raises.
    """
    path = _path(log)
    covered = _last_line(log)
    if path is None or not covered:
        return None
    body, rows = _body(log, lines, covered)
    header = {
        "version": _VERSION,
        "covered": covered,
        "rows": rows,
        "log": _state(log, covered),
        "written": _written(log),
        "body": hashlib.sha256(body).hexdigest(),
    }
    head = json.dumps(header).encode("ascii").ljust(_HEADER_BYTES)
    try:
        _write(path, head + body)
    except OSError:
        # The index is a cache. A question must not fail because the disk is full.
        return None
    return Index(body, header)


def _body(log: LogFile, lines: t.Iterable[Line], covered: int) -> tuple[bytes, int]:
    terms: dict[bytes, list[Place]] = {}
    falls = Falls()
    beside: Place | None = None
    at_boot = False
    for line in lines:
        place = (line.offset, len(line.text))
        if line.offset + len(line.text) > covered:
            break
        read = read_line(line, log.clock)
        found: set[bytes] = set()
        for item in read.items:
            falls.take(item, place)
            if isinstance(item, Logged):
                found |= terms_of(item)
                found |= set() if is_root(item) else {UNTRUSTED}
        boots = any(
            isinstance(item, Boot) or (isinstance(item, Mark) and item.daemon)
            for item in read.items
        )
        # The kernel's numbers before and after a line show a boot.
        if boots and beside is not None:
            terms.setdefault(BOOT, []).append(beside)
        if boots or at_boot or (VIRT_NEEDLE not in line.text and read.items):
            found.add(BOOT)
        if read.problem is not None:
            found.add(BROKEN_LINE)
        for term in found:
            terms.setdefault(term, []).append(place)
        at_boot, beside = boots, place
    terms.setdefault(BOOT, []).extend(falls.all())
    rows, places, first = [], [], 0
    for key, term in sorted((_hash(term), term) for term in terms):
        rows.append(_ROW.pack(key, first, len(terms[term])))
        places += [_PLACE.pack(*place) for place in terms[term]]
        first += len(terms[term])
    return b"".join((*rows, *places)), len(rows)


def _hash(term: bytes) -> bytes:
    return hashlib.sha256(term).digest()[:8]


def _state(log: LogFile, covered: int) -> dict[str, t.Any]:
    """Return what of a log must stay as it is for the index to fit."""
    ends = hashlib.sha256(log.read_at(0, _END_BYTES))
    ends.update(log.read_at(max(0, covered - _END_BYTES), min(_END_BYTES, covered)))
    for piece in range(_PIECES):
        ends.update(log.read_at(covered * piece // _PIECES, _PIECE_BYTES))
    return {"identity": list(log.identity), "hash": ends.hexdigest()}


def _written(log: LogFile) -> list[float]:
    """Return the size of a log and the time of its last write."""
    return [log.size, log.clock.written()]


def _last_line(log: LogFile) -> int:
    """Return where the last whole line of a log ends."""
    start = max(0, log.size - _END_BYTES)
    tail = log.read_at(start, _END_BYTES)
    return start + tail.rfind(b"\n") + 1


def _path(log: LogFile) -> str | None:
    """Return the path of a log's index, or ``None`` if there is none: only root keeps indexes, and only of
    unpacked logs of auditd.
    """
    if os.geteuid() != 0 or log.compressed or not log.plain or len(log.identity) != 2:
        return None
    return os.path.join(DIRECTORY, "audit-{}-{}.index".format(*log.identity))


def _is_private(directory: str) -> bool:
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == 0
        and not status.st_mode & 0o022
    )


def _write(path: str, content: bytes) -> None:
    os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
    if not _is_private(DIRECTORY):
        return
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as handle:
            handle.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sweep()


def _sweep() -> None:
    """Remove all but the newest indexes. Otherwise the indexes of removed logs would fill the disk."""
    names = [name for name in os.listdir(DIRECTORY) if name.startswith("audit-")]
    paths = [os.path.join(DIRECTORY, name) for name in names]
    with contextlib.suppress(OSError):
        for path in sorted(paths, key=os.path.getmtime)[:-_KEPT]:
            os.unlink(path)
