# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns the forms in which operators keep audit records into the line that auditd writes.

Each line is recognised by itself, so that a file may hold several forms. Only a known header may stand before a
record, so that text in the middle of another record is never read as a record. Any user can write to syslog
with ``logger(1)``, so a line whose tag names another program than the audit system's is not read.

Sources: RFC 3164, RFC 5424, ``journalctl(1)``, ``systemd.journal-fields(7)``, ``grep(1)``,
``auditd-plugins(5)``.
"""

from __future__ import annotations

import html
import re
import typing as t

from .._audit.record import MESSAGE_TYPES
from .clock import Clock
from .journal import (
    LONGEST_HEADER,
    WIDEST_INDENT,
    Sender,
    boot_id_of,
    fields_of,
    is_audit_tag,
    journal_line,
    read_entry,
    sender_of,
)
from .json_fields import holds_lines
from .json_forms import Found, read_json, read_object
from .parse import NODE, is_root, parse_virt
from .refused import refusal

# The beginning of a record. The kernel's own log has no "msg=".
HEAD = re.compile(
    NODE + r"type=(?P<type>[A-Z][A-Z0-9_]*|(?:UNKNOWN)?\[?\d{4}\]?) (?:msg=)?"
    r"(?=audit\(\d{1,11}\.\d{1,3}:\d{1,20}\): ?)",
    re.ASCII,
)
_DATE = (
    r"(?:(?:\d{4} )?[A-Z][a-z]{2} [ \d]?\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d+)?"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)"
)
# A tag ends in a colon, and a host's name does not. The sender of the message chose the text after
# the tag.
_HOST = r"(?P<host>[^\s=\"']*[^\s=\"':])"
# grep -H, -n and -C; cat -n and less -N.
_GREP = r"(?:[^\s'\"=<>{/.]*[/.][^\s'\"=]*[:-])?(?:\d{1,12}[:-]| {0,11}\d{1,12}(?:\t| {1,2}))?"
_HEADERS = tuple(
    re.compile(_GREP + pattern, re.ASCII)
    for pattern in (
        # Blanks, from a mail or a template that has only the message.
        rf"[\s>|*-]{{0,{WIDEST_INDENT}}}",
        # RFC 5424.
        rf"(?:\d+ )?(?:<\d{{1,3}}>)?1 (?:{_DATE}|-) (?P<host>\S+) (?P<tag>\S+) \S+ \S+ (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) ?(?:\ufeff)?",
        # RFC 3164, with or without a tag.
        rf"(?:<\d{{1,3}}>)?(?:{_DATE} )?(?:{_HOST} )?(?:[a-z0-9]+\.[a-z]+ )?(?P<tag>[^\s:\[=\"']+)(?:\[\d+\])?: ?(?:\[ *\d+\.\d+\] )?(?:audit: )?",
        rf"(?:<\d{{1,3}}>)?{_DATE} {_HOST} ",
        # A tag without a colon.
        rf"(?:<\d{{1,3}}>)?{_DATE} {_HOST} (?P<tag>[^\s:\[=\"']*audi[^\s:\[=\"']*) ",
        # ts(1) and other programs that put a time before each line.
        rf"(?:{_DATE}|\d\d:\d\d:\d\d(?:\.\d+)?|\d{{9,11}}\.\d+) ",
        # dmesg(1), with -T, -x and the caller too.
        r"(?:<\d{1,3}>)?(?:[a-z]+ *:[a-z]+ *: )?\[[A-Za-z0-9 :.]{5,40}\](?:\[ *[CT]\d+\])? (?:audit: )?",
        r"audit: ",
        # A container's log.
        rf"{_DATE} std(?:out|err) F ",
        # JSON that was printed over several lines. An element of a list has no key, and a user may have chosen it.
        r"\s*\"(?P<key>[\w.@-]+)\"\s*:\s*\[?\s*\"",
        r"(?:- )?\"",
    )
)
_NO_ENTRY = "the journal's entry around it is not whole, is longer than any record's, or has several messages: use journalctl -o json"
_JOINED_BY_USER = "text that looks like a record follows a record on the same line, and the first one is not a whole record of a VM that root sent"
_TYPE_NAME = re.compile(r"\s*\"?_AUDIT_TYPE_NAME\"?\s*[=:]")
# 0x1D as rsyslog, cat -v and others write it.
_SEPARATOR = re.compile(
    r"'(?:#035|#29|%1D|&#29;|\^\]|\\x1d|\\u001d|\\035|\u241d|\ufffd|<1d>|[\t ]{1,8})(?=[A-Z]+=)",
    re.IGNORECASE,
)
# What grep --color, journalctl and less put around words: ECMA-48.
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# The rest of a quoted cell of a table. It ends before a quote that is not doubled.
_CELL = re.compile(r"[^\"]*(?:\"\"[^\"]*)*")
# A limit of digits, because html.unescape() fails for a number with thousands of digits.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]\w{0,31});", re.ASCII)
# cat -A, cat -e, and the end of a line of Windows as an editor shows it.
_LINE_END = re.compile(r"(?<=['\"])(?:\^M|\\n)?\$?\Z")
# Several records on a line, because the newline between them is lost.
_JOINED = re.compile(
    r"(?<=')(?:\x1d[^'\x1d]*?)?(?:\\n|[ ,;|]{1,3})?(?=(?:node=[^\s'\"]{1,255} )?type=(?:VIRT_[A-Z_]+|250[0-2]) msg=audit\()"
)
_NUMBERS = {str(number): name for name, number in MESSAGE_TYPES.items()}
_BOOTED = re.compile(r"-- (?:Boot ([0-9a-f]{32})|Reboot) --", re.ASCII)


class Form(t.NamedTuple):
    """The content of a line: the ``lines`` that auditd would have written, or the ``problem`` why it cannot be read.

    ``host`` is the host that a header names. ``boot`` tells that, according to the journal, the host booted here.
    ``sender`` is the user other than root who sent the lines to the journal. ``boot_id`` is the boot in which the journal
    got them.
    """

    lines: t.Sequence[str] = ()
    host: str | None = None
    problem: str | None = None
    boot: bool = False
    sender: Sender | None = None
    boot_id: str | None = None


_NOTHING = Form()


def read_form(text: str, before: str, clock: Clock) -> Form:
    """Recognise a line that auditd did not write.

    ``before`` is the entry of a journal's export form to which the line belongs. For a line that has nothing to
    do with VMs, return neither lines nor a problem.
    """
    text = _LINE_END.sub("", _COLOURS.sub("", text.strip("\ufeff\r\0")))
    if "&quot;" in text or "&#34;" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    booted = _BOOTED.fullmatch(text)
    if booted is not None:
        return Form(boot=True, boot_id=booted[1])
    if text.lstrip("[, \t\x1e").startswith("{") or text.startswith("data: {"):
        found = read_json(text)
        if found is not None:
            return _nested(found, clock)
    if _TYPE_NAME.match(text):
        # The entry's message says the same.
        return _NOTHING
    if text.startswith("MESSAGE="):
        return _of_block(text, before, clock)
    return _headed(text, clock)


def _nested(found: Found, clock: Clock) -> Form:
    read: list[str] = []
    host, problem = found.host, found.problem
    for line in found.lines:
        form = _headed(line, clock)
        read += form.lines
        problem = problem or form.problem
        host = host or form.host
    return Form(read, host, problem, sender=found.sender, boot_id=found.boot_id)


def _of_block(text: str, before: str, clock: Clock) -> Form:
    fields = fields_of(before)
    if not fields:
        return Form(problem=_NO_ENTRY) if "VIRT_" in text else _NOTHING
    line, host = read_entry(fields)
    if line is not None:
        sender, boot_id = sender_of(fields), boot_id_of(fields)
        return Form([line], host, sender=sender, boot_id=boot_id)
    # A dispatcher or the kernel's log may have written it.
    found = read_object(fields)
    if found is None or not (found.lines or found.problem):
        return _refused(text)
    return _nested(found, clock)


def _headed(text: str, clock: Clock) -> Form:
    head = HEAD.search(text)
    if head is None:
        line, host, problem = journal_line(text, clock)
        if line is not None:
            return Form([line], host)
        return Form(problem=problem) if problem else _refused(text)
    host, problem = _header(text[: head.start()])
    if problem is not None:
        return Form(problem=problem) if _is_virt(head["type"], text) else _NOTHING
    body = _body(text[head.start() :], text[: head.start()])
    lines, problem = _split(body)
    return Form(lines, host, problem)


def _split(body: str) -> tuple[list[str], str | None]:
    """Return the records on a line.

    A user chooses the text of some records, and this text can look like the end of a record and another record. So a record
    counts only if each one before it is a whole record of a VM that root sent. Otherwise return a problem, too.
    """
    lines = [_plain(line) for line in _JOINED.split(body)]
    for number, line in enumerate(lines[:-1], 1):
        logged = parse_virt(line)
        if logged is None or not is_root(logged):
            return lines[:number], _JOINED_BY_USER
    return lines, None


def _header(header: str) -> tuple[str | None, str | None]:
    """Return the host that a header names, or what is wrong with it."""
    for pattern in _HEADERS if len(header) <= LONGEST_HEADER else ():
        match = pattern.fullmatch(header)
        if match is None:
            continue
        named = match.groupdict()
        if named.get("key") and not holds_lines(named["key"]):
            break
        tag = named.get("tag")
        if tag is not None and not is_audit_tag(tag):
            return (
                None,
                f"its tag is {tag!r}, and so another program than the audit system wrote it",
            )
        return named.get("host"), None
    return None, "the text before the record is not a known header"


def _body(text: str, header: str) -> str:
    """Remove what copying has added to a record, such as escapes and blanks at its end."""
    quoted = header.endswith('"')
    if '\\"' in text:
        text = text.replace('\\"', '"').replace("\\\\", "\\")
        text = _without_quote(text) if quoted else text
    elif quoted:
        # A table of comma-separated values doubles the quotes.
        text = next(_CELL.finditer(text))[0].replace('""', '"')
    return _SEPARATOR.sub("'\x1d", text.rstrip(" \t\r"))


def _without_quote(text: str) -> str:
    """Remove the closing quote of a string, and what follows it, from JSON that was printed over several lines."""
    end = text.rstrip().removesuffix(",").rstrip().removesuffix("]").rstrip()
    return end[:-1] if end.endswith('"') else text


def _is_virt(kind: str, text: str) -> bool:
    return "VIRT_" in text or any(number in kind for number in _NUMBERS)


def _plain(line: str) -> str:
    """Replace a type's number by its name, and add the ``msg=`` that the kernel's own log leaves out."""
    head = HEAD.match(line)
    if head is None:
        return line
    kind = head["type"].replace("UNKNOWN", "").strip("[]")
    node = f"node={head['node']} " if head["node"] else ""
    return f"{node}type={_NUMBERS.get(kind, head['type'])} msg={line[head.end():]}"


def _refused(text: str) -> Form:
    # auditbeat writes the type in small letters.
    if "VIRT_" not in text and '"virt_' not in text:
        return _NOTHING
    cut = text.startswith(("type=VIRT_", "node="))
    unknown = "the record is cut" if cut else "it has no form that the module knows"
    return Form(problem=refusal(text) or unknown)
