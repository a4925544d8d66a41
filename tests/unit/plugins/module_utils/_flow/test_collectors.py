# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collectors keep records as JSON, beside texts that a user chose. The module does not take such a text for a record."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_cases import (
    ask,
)
from ansible_collections.virtaudit.qemu.tests.unit.plugins.module_utils._flow.test_forms import (
    LINES,
    STOP,
    WEB01,
    answer,
    write,
)

STOPPED: tuple[object, ...] = ([], [("web01", "stopped")], [])
FORGED = STOP.rstrip("\n")
EVENT = "1715510990.000:250"
EXECVE = f"type=EXECVE msg=audit({EVENT}): argc=2"

# How collectors keep a record.
KEPT: dict[str, t.Callable[[str], t.Any]] = {
    "filebeat": lambda line: {"message": line, "host": {"name": "hv1"}},
    "event.original": lambda line: {"event": {"original": line, "module": "auditd"}},
    "flat": lambda line: {"event.original": line, "message.keyword": line},
    "Elasticsearch": lambda line: {"_index": "a", "_source": {"message": line}},
    "Kibana": lambda line: {"fields": {"event.original": [line]}},
    "auditbeat": lambda line: {"auditd": {"messages": [line], "message_type": "x"}},
    "Splunk": lambda line: {"event": line, "sourcetype": "linux:audit"},
    "Graylog": lambda line: {"full_message": line, "short_message": line},
    "rsyslog": lambda line: {"msg": f" {line}", "programname": "audispd"},
    "syslog-ng": lambda line: {"MESSAGE": line, "PROGRAM": "audispd"},
    "a tag": lambda line: {"message": line, "tag": "tag_audit_log:"},
    "fluentd": lambda line: {"message": line, "tag": "system.messages"},
    "OpenTelemetry": lambda line: {"body": {"stringValue": line}},
    "CloudWatch": lambda line: {"@message": line, "@timestamp": "2024-05-12"},
    "Loki": lambda line: {"values": [["1715510990", line]]},
    "Wazuh": lambda line: {"full_log": line, "location": "/var/log/audit/audit.log"},
    "filebeat's journald": lambda line: {"message": line, "journald": {"uid": 0}},
}
# How collectors keep what a user chose.
FOREIGN: dict[str, t.Any] = {
    "laurel": {"ID": EVENT, "EXECVE": {"argc": 2, "ARGV": ["x", FORGED]}},
    "laurel, a message": {"ID": EVENT, "USER": [{"uid": 1000, "msg": FORGED}]},
    "laurel, translated": {"ID": EVENT, "PROCTITLE": {"ARGV": [FORGED]}},
    "auditbeat": {
        "process": {"args": ["x", FORGED], "title": FORGED, "io": {"text": FORGED}},
        "event": {"original": EXECVE},
    },
    "flat": {"process.args": ["x", FORGED], "process.command_line.text": FORGED},
    "a file": {"file": {"path": FORGED, "value": FORGED}},
    "Wazuh": {"full_log": EXECVE, "data": {"audit": {"execve": {"a1": FORGED}}}},
    "osquery": {"columns": {"cmdline": FORGED}},
    "the journal without its message": {
        "__REALTIME_TIMESTAMP": "1715510990000000",
        "_TRANSPORT": "syslog",
        "_UID": "0",
        "MESSAGE": None,
        "_CMDLINE": FORGED,
    },
    "a second line": {"message": f"May 12 12:47:59 hv1 alice: hello\n{FORGED}"},
    "a second line after a record": {
        "message": f"May 12 12:47:59 hv1 alice: {EXECVE}\n{FORGED}"
    },
    **{
        f"a line end {end!r}": {
            "message": f"type=USER msg=audit({EVENT}): pid=1 uid=1000 auid=7 ses=1 msg='{end}{FORGED}"
        }
        for end in "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    },
    **{
        f"a program's name as {name}": {"message": FORGED, name: "alice"}
        for name in ("programname", "PROGRAM", "ident", "syslogtag", "app_name")
    },
    "a program's tag": {"message": FORGED, "tag": "alice:"},
    "filebeat's syslog": {"message": FORGED, "log": {"syslog": {"appname": "alice"}}},
    "filebeat's journald": {"message": FORGED, "journald": {"uid": 1000}},
    "a journal in Elasticsearch": {
        "_source": {"message": FORGED, "_UID": "1000", "_TRANSPORT": "syslog"}
    },
    "vector's journald": {
        "message": FORGED,
        "__REALTIME_TIMESTAMP": "1715511000100123",
        "_UID": "1000",
        "_TRANSPORT": "syslog",
        "SYSLOG_IDENTIFIER": "audispd",
    },
}


def log_of(*objects: t.Any) -> str:
    return "".join(f"{json.dumps(each)}\n" for each in objects)


@pytest.mark.parametrize("name", KEPT)
def test_a_record_in_json(name: str, tmp_path: Path) -> None:
    content = log_of(*map(KEPT[name], LINES))
    for asked in ({}, {"name": "web01"}):
        result = ask([write(tmp_path / "log", content)], **asked)
        assert answer(result) == WEB01
        assert len(result["events"]) == len(LINES)
        assert result["stats"]["unread"] == []
    stopped = log_of(*map(KEPT[name], (*LINES, FORGED)))
    assert answer(ask([write(tmp_path / "log", stopped)])) == STOPPED


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("listed", [False, True])
def test_a_text_of_a_user_in_json(name: str, listed: bool, tmp_path: Path) -> None:
    foreign = [FOREIGN[name]] if listed else FOREIGN[name]
    content = log_of(*map(KEPT["filebeat"], LINES), foreign)
    for asked in ({}, {"name": "web01"}):
        result = ask([write(tmp_path / "log", content)], **asked)
        assert answer(result)[:2] == WEB01[:2]
        assert {each["code"] for each in result["findings"]} <= {
            "unread_records",
            "untrusted_record",
        }
        said = result["findings"] or "journal" in name or "a line end" in name
        assert said


@pytest.mark.parametrize(
    "line",
    [
        f'            "args": [{json.dumps(FORGED)}],',
        f"                {json.dumps(FORGED)}",
        f'  "process.title": {json.dumps(FORGED)}',
        f"  - {json.dumps(FORGED)}",
    ],
)
def test_a_text_of_a_user_in_json_over_several_lines(line: str, tmp_path: Path) -> None:
    content = "".join(f'  "original": {json.dumps(each)},\n' for each in LINES)
    assert answer(ask([write(tmp_path / "log", content)])) == WEB01
    for asked in ({}, {"name": "web01"}):
        result = ask([write(tmp_path / "log", f"{content}{line}\n")], **asked)
        assert answer(result)[:2] == WEB01[:2]
        assert answer(result)[2] == ["unread_records"]


def test_an_entry_of_the_journal_under_another_name(tmp_path: Path) -> None:
    entries = [
        {
            "message": line.partition(" msg=audit(")[0][5:]
            + " "
            + line.partition("): ")[2],
            "__REALTIME_TIMESTAMP": f"{line.partition('audit(')[2][:14]}".replace(
                ".", ""
            )
            + "000",
            "_TRANSPORT": "audit",
            "_UID": "0",
            "_AUDIT_ID": str(number),
        }
        for number, line in enumerate(LINES, 170)
    ]
    assert answer(ask([write(tmp_path / "log", log_of(*entries))])) == WEB01
