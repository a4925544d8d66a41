# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run comes from, and that the callback writes no record twice."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    check_files,
    trail_files,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.origin import (
    collection_of,
    inventory_of,
    job_of,
    user_of,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.results import (
    AUDIT_INFO,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.trail import Trail
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import (
    a_log,
    a_result,
    an_answer,
    an_item,
)


def test_the_values_of_awx_and_the_runner() -> None:
    told = {
        "awx_user_name": "alice",
        "awx_job_id": 7,
        "tower_job_template_name": "x" * 999,
        "awx_secret": "s3cret",
        "awx_user_password": ["s3cret"],
        "vm_password": "s3cret",
    }
    environment = {"JOB_ID": "7", "AWX_ISOLATED_DATA_DIR": "/r/artifacts/42/"}
    job = job_of(told, environment, None)
    assert job == {
        "awx_user_name": "alice",
        "awx_job_id": "7",
        "tower_job_template_name": "x" * 256,
        "JOB_ID": "7",
        "runner_ident": "42",
    }
    assert user_of(job) == "alice"
    assert user_of(job_of({}, {"SUDO_USER": "bob"}, None)) == "bob"
    assert job_of({}, {}, 0) == {"login": "root"}
    workflow = {"awx_workflow_job_user_name": "carol", "awx_workflow_job_id": 9}
    assert user_of(job_of(workflow, {"LOGNAME": "runner"}, None)) == "carol"


def hash_of(*sources: Path | str) -> t.Any:
    return inventory_of([str(source) for source in sources], None, lambda _path: None)[
        "hash"
    ]


def test_the_hash_covers_the_inventory(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all:")
    first = hash_of(inventory)
    assert first == hash_of(inventory)
    (inventory / "group_vars" / "all.yml").write_text("a: 1")
    second = hash_of(inventory)
    (inventory / "group_vars" / "all.yml").rename(inventory / "group_vars" / "b.yml")
    third = hash_of(inventory)
    assert len({first, second, third, hash_of(inventory, "a,b"), hash_of("a,b")}) == 5
    (inventory / ".git").mkdir()
    (inventory / ".git" / "index").write_text("x")
    assert hash_of(inventory) == third


def test_a_source_that_cannot_be_read_again_has_no_hash(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert hash_of(fifo) is None
    assert hash_of("a,b", tmp_path / "missing") is None
    # Ansible also reads a file with such a name.
    with_comma = tmp_path / "a,b"
    missing = hash_of(with_comma)
    with_comma.write_text("[all]")
    assert hash_of(with_comma) not in (None, missing)


def test_the_collection_of_a_playbook(tmp_path: Path) -> None:
    root = tmp_path / "ansible_collections" / "virtaudit" / "qemu"
    (root / "playbooks").mkdir(parents=True)
    playbook = str(root / "playbooks" / "attach.yml")
    assert collection_of(playbook) is None
    (root / "galaxy.yml").write_text("name: qemu\nversion: 1.2.3\n")
    assert collection_of(playbook) == {"name": "virtaudit.qemu", "version": "1.2.3"}
    (root / "MANIFEST.json").write_text('{"collection_info": {"version": "1.2.4"}}')
    assert collection_of(playbook) == {"name": "virtaudit.qemu", "version": "1.2.4"}
    assert collection_of("/srv/play.yml") is None
    assert collection_of(None) is None


def ids(directory: Path) -> list[str]:
    lines = [
        json.loads(line)
        for path in trail_files(str(directory))
        for line in Path(path).read_bytes().splitlines()
    ]
    events = [line["event"] for line in lines if line["event"]["kind"] == "event"]
    return [event["id"] for event in events]


def run(directory: Path, *answers: t.Any) -> None:
    trail = Trail("/play.yml", 10)
    trail.open(str(directory))
    for answer in answers:
        trail.write(trail.collector.whole(answer))
    trail.close()


@pytest.mark.parametrize("machine", ["hv1", 'hv"1\\ü'])
def test_no_id_is_there_twice(tmp_path: Path, machine: str) -> None:
    """One run after the other reads the logs back. The same event of another host is another record."""
    log = a_log(an_item(1), an_item(2), an_item(3))
    sent = an_answer(a_result(an_item(1)), machine=machine)
    run(tmp_path, sent, an_answer(log, AUDIT_INFO, machine=machine))
    run(tmp_path, an_answer(log, AUDIT_INFO, machine=machine))
    assert len(ids(tmp_path)) == len(set(ids(tmp_path))) == 3
    run(tmp_path, an_answer(a_log(an_item(1), an_item(4)), AUDIT_INFO, machine=machine))
    assert len(ids(tmp_path)) == len(set(ids(tmp_path))) == 4
    run(tmp_path, an_answer(log, AUDIT_INFO, machine="hv2"))
    assert len(ids(tmp_path)) == 7
    assert {each.status for each in check_files(trail_files(str(tmp_path)))} == {
        "sound"
    }


@pytest.mark.parametrize(
    ("address", "ip"),
    [("fe80::1%eth0", "fe80::1"), ("10.0.2.2", "10.0.2.2"), ("host1", None)],
)
def test_an_address_has_no_zone(tmp_path: Path, address: str, ip: str | None) -> None:
    run(tmp_path, an_answer(a_result(an_item(1, addr=address))))
    line = json.loads(Path(trail_files(str(tmp_path))[0]).read_bytes().splitlines()[1])
    assert line["source"]["address"] == address
    assert line["source"].get("ip") == ip
    assert line["related"].get("ip") == (None if ip is None else [ip])
