# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forms of logs that this collection refuses, each with the command that writes a readable form. Pure.

These forms leave out facts that an answer rests on, such as the devices. Or they interpret them, so that nobody
can tell them from text that somebody chose.
"""

from __future__ import annotations

import re

_RAW = "give the host's audit.log, or the output of ausearch --raw"

_FORMS = (
    (
        re.compile(r"type=\S{1,40} msg=audit\(\d{1,4}[-/.]\d\d?[-/.]\d{1,4}[ T]"),
        f"it is the output of ausearch -i, which takes quotes away and changes numbers to names: {_RAW}",
    ),
    (
        re.compile(r"NODE,EVENT,DATE,TIME|,VIRT_(?:CONTROL|RESOURCE|MACHINE_ID),"),
        f"it is the output of ausearch --format csv, which leaves the devices out: {_RAW}",
    ),
    (
        re.compile(
            r"^(?:On \S+ )?At \d\d:\d\d:\d\d \S+ .*(?:acting as|did-unknown|successfully|unsuccessfully)",
            re.MULTILINE,
        ),
        f"it is the output of ausearch --format text, which leaves the devices out: {_RAW}",
    ),
    (
        re.compile(
            r"^Virtualization Report\b|^\d+\. \S+ \S+ (?:VIRT_\w+ \S+ \d+|\S+ VIRT_\w+ .*)$",
            re.MULTILINE,
        ),
        f"it is a report of aureport, which leaves the devices out: {_RAW}",
    ),
    (
        re.compile(
            r"^(?:resrc|start|stop|down|avc|anom|Range of time|Number of guest|resource|control)\b[ :].*(?:\t|\bof guest\b|\d\d:\d\d)",
            re.MULTILINE,
        ),
        f"it is the output of auvirt, which leaves the devices out: {_RAW}",
    ),
    (
        re.compile(r'"_raw"|_raw,|,"?_time'),
        "it is an export of Splunk as a table: export the raw events",
    ),
    (
        re.compile(r"\"message_type\"|\"auditd\"\s*:"),
        "it is an event of auditbeat without the record itself: set include_raw_message: true, or give the host's audit.log",
    ),
    (
        re.compile(r"^[ \t]*\"(?:MESSAGE|_AUDIT_TYPE_NAME)\" ?: ", re.MULTILINE),
        "it is the output of journalctl -o json-pretty, which takes several lines for a record: use -o json",
    ),
    (
        re.compile(r"^ {4}(?:MESSAGE|_AUDIT_TYPE_NAME)=", re.MULTILINE),
        "it is the output of journalctl -o verbose: use -o json or -o export",
    ),
)


def refusal(text: str) -> str | None:
    """Return why a line, or the beginning of a file, is refused, and what to do.

    Return ``None`` if it has none of these forms.
    """
    return next((reason for pattern, reason in _FORMS if pattern.search(text)), None)
