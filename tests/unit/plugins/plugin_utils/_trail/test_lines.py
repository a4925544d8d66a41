# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    check_file,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.results import (
    AUDIT_INFO,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.run import Run
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.trail import Trail
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import (
    UUID,
    a_finding,
    a_log,
    a_result,
    an_answer,
    an_item,
)

SCHEMA = json.loads(
    (Path(__file__).parents[5] / "docs" / "audit_trail.schema.json").read_text()
)
Line = dict[str, t.Any]


@pytest.fixture(name="validator")
def fixture_validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(name="lines")
def fixture_lines(tmp_path: Path) -> list[Line]:
    """A run with a line of every kind."""
    trail = Trail("/play.yml", 10)
    trail.open(str(tmp_path / "trail"))
    sent = [
        an_item(1),
        an_item(None),
        an_item(
            2,
            reason="attach",
            net=None,
            path=None,
            fds="7,8",
            **{"new-net": "52:54:00:00:00:01"},
        ),
        an_item(3, reason="close", fd="7"),
        {**an_item(4, op="start", reason="booted"), "type": "VIRT_CONTROL"},
        {
            "type": "VIRT_MACHINE_ID",
            "event": "1.000:1",
            "confirmed": True,
            "fields": {},
        },
        an_item(
            5, fd="many", fds="1,x", addr="no address", res=None, vm="\udcff\n\x1b"
        ),
        "malformed",
    ]
    unknown = dict.fromkeys(("vm", "uuid", "mac"))
    findings = [a_finding(), a_finding("audit_lost", severity="high", **unknown)]
    collector = trail.collector
    for data, module in (
        (a_result(*sent), "virtaudit.qemu.vm_net_attach"),  # type: ignore[arg-type]
        ({"censored": "hidden"}, "virtaudit.qemu.vm_net_detach"),
        ({**a_log(an_item(9), an_item(1)), "findings": findings}, AUDIT_INFO),
    ):
        trail.write(collector.whole(an_answer(data, module)))
    collector.whole(an_answer({"ansible_job_id": "j1", "finished": 0}))
    trail.close()
    (path,) = (tmp_path / "trail").iterdir()
    found = check_file(str(path))
    assert (found.status, found.records) == ("sound", 8), found.describe()
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_each_line_is_as_the_schema_says(
    validator: jsonschema.Draft202012Validator, lines: list[Line]
) -> None:
    problems = [
        f"{number}: {error.message}"
        for number, line in enumerate(lines, 1)
        for error in validator.iter_errors(line)
    ]
    assert problems == []
    assert [line["event"]["action"] for line in lines] == [
        "run_start",
        *("open", "open", "attach", "close", "vm_start", "virt_machine_id", "open"),
        *("records_malformed", "records_hidden", "stale_grant", "audit_lost"),
        *("open", "records_unknown", "run_end"),
    ]


@pytest.mark.parametrize("number", [0, 1, 8, 10, -1])
def test_the_schema_refuses_other_lines(
    validator: jsonschema.Draft202012Validator, lines: list[Line], number: int
) -> None:
    line = lines[number]
    for part in ("host", "event", "virtaudit", "@timestamp"):
        assert not validator.is_valid({key: line[key] for key in line if key != part})
    assert not validator.is_valid({**line, "args": {}})
    assert not validator.is_valid({**line, "@timestamp": "yesterday"})


def test_the_line_of_a_record(lines: list[Line]) -> None:
    line = lines[1]
    ours = line.pop("virtaudit")
    created, digest = line["event"].pop("created"), line["event"].pop("hash")
    assert (len(created), len(digest)) == (24, 64)
    assert line == {
        "@timestamp": "2026-11-23T07:55:05.001Z",
        "ecs": {"version": "8.11.0"},
        "host": {"name": "hv1"},
        "user": {
            "name": ours["job"].get("login", ours["controller"]["user"]),
            "id": "1000",
        },
        "file": {"path": "/dev/net/tun", "type": "device"},
        "related": {
            "user": [ours["job"].get("login", ours["controller"]["user"]), "1000"],
            "hosts": ["hv1"],
            "ip": ["10.0.2.2"],
        },
        "message": f"VIRT_RESOURCE virt=kvm resrc=net reason=open vm=web01 uuid={UUID} net=52:54:00:00:00:01"
        " path=/dev/net/tun rdev=0A:C8 dev=vt525400000001 exe=/usr/bin/python3.11 hostname=? addr=10.0.2.2"
        " terminal=? res=success",
        "process": {"executable": "/usr/bin/python3.11"},
        "source": {"address": "10.0.2.2", "ip": "10.0.2.2"},
        "event": {
            "kind": "event",
            "category": ["host"],
            "type": ["access"],
            "action": "open",
            "outcome": "success",
            "code": "VIRT_RESOURCE",
            "id": "1795420505.001:1",
            "reason": "open",
            "module": "virtaudit",
            "dataset": "virtaudit.trail",
            "provider": "virtaudit.qemu.audit_trail",
            "sequence": 2,
        },
    }
    assert ours["devices"] == [
        {"path": "/dev/net/tun", "rdev": "0A:C8", "dev": "vt525400000001", "fd": None}
    ]
    assert (ours["play"], ours["task"]) == (
        None,
        {"name": "Task", "path": "/play.yml:3"},
    )
    assert lines[3]["virtaudit"]["fds"] == [7, 8]
    assert lines[4]["virtaudit"]["devices"][0]["fd"] == 7


def test_the_network_and_the_ticket(
    tmp_path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    said = {"source": "br0", "vlan": "42", "filter": "mac", "ticket": "CHG 1"}
    trail = Trail("/play.yml", 10)
    trail.open(str(tmp_path / "trail"))
    trail.write(
        trail.collector.whole(
            an_answer(
                a_result(
                    an_item(1, reason="prepare", path=None, **said),
                    an_item(
                        2, **{"old-link": "up", "new-link": "down"}, reason="update"
                    ),
                    an_item(3),
                )
            )
        )
    )
    trail.close()
    (path,) = (tmp_path / "trail").iterdir()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [
        error.message for each in lines for error in validator.iter_errors(each)
    ] == []
    none = dict.fromkeys(("source", "vlan", "filter", "isolated", "link"))
    assert [
        (each["event"]["type"], ours["network"], ours["ticket"])
        for each in lines[1:4]
        if (ours := each["virtaudit"])
    ] == [
        (["change"], {**none, "source": "br0", "vlan": "42", "filter": "mac"}, "CHG 1"),
        (["change"], {**none, "link": "down"}, None),
        (["access"], None, None),
    ]


def test_the_line_of_a_finding(lines: list[Line]) -> None:
    line = lines[10]
    assert {key: line["event"][key] for key in ("kind", "action", "reason")} == {
        "kind": "alert",
        "action": "stale_grant",
        "reason": "about stale_grant",
    }
    assert [each["event"]["severity"] for each in lines[10:12]] == [47, 73]
    ours = line["virtaudit"]
    assert (ours["severity"], ours["events"]) == ("medium", ["1795420505.001:1"])
    assert ours["vm"] == {"name": "web01", "uuid": UUID}
    assert (line["host"], ours["module"]) == ({"name": "hv1"}, AUDIT_INFO)


def test_a_run_knows_its_repository(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    play = tmp_path / "play.yml"
    play.touch()
    assert Run.begin(str(play)).revision is None
    for command in (["init", "-q"], ["add", "play.yml"], ["commit", "-qm", "m"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    revision = head.stdout.strip()
    assert Run.begin(str(play)).revision == revision
    play.write_text("changed")
    assert Run.begin(str(play)).revision == f"{revision}-dirty"


def test_a_run_is_not_misled_by_the_repository_of_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "play.yml").touch()
    other = tmp_path / "other"
    git = ["git", "-C", str(other), "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "m"], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert Run.begin(str(tmp_path / "play.yml")).revision is None


def test_a_run_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "play.yml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    run = Run.begin("play.yml")
    assert (run.playbook, run.revision) == (str(tmp_path / "play.yml"), None)


def test_an_ad_hoc_task_has_no_playbook() -> None:
    assert Run.begin("__adhoc_playbook__").playbook is None
