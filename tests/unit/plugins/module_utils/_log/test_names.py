# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.trail import (
    Trail,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.boot import Host
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.given import (
    given_logs,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.names import alone
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.nodes import (
    OwnNodes,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.recall import (
    Recalled,
    read_all,
    recall,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.wanted import Wanted
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import noise, write_log
from ansible_collections.virtaudit.qemu.tests.unit.support.logs import logs_of
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

OTHER = "52:54:00:00:00:02"
NOW = 9_999_999.0
NAME = os.uname().nodename
HOST = Host(frozenset((None, "hv1")), booted=0.0)


@pytest.mark.parametrize(
    ("begin", "end", "wanted"),
    [
        ("", "", True),
        ("node=hv1 ", "node=hv1 ", True),
        ("node=hv1 ", "node=hv2 ", False),
        ("node=hv2 ", "", False),
    ],
)
def test_a_collector_has_others_records_too(
    begin: str, end: str, wanted: bool, tmp_path: Path
) -> None:
    text = noise(1000, 1, 9, begin) + noise(1010, 10, 3000) + noise(4010, 3010, 9, end)
    (tmp_path / "log").write_text(text)
    with given_logs([str(tmp_path / "log")]) as (logs, _unread):
        assert alone(logs, HOST) is wanted


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted(uuid=UUID), Wanted(name="web01"), Wanted(mac=OTHER)]
)
@pytest.mark.parametrize("node", [NAME, f"{NAME}.example.com", "127.0.1.1"])
def test_a_host_whose_records_get_a_name_stays_the_same_host(
    node: str, wanted: Wanted, tmp_path: Path
) -> None:
    story = Story().machine_id().open().start().booted()
    story.node = node
    path = write_log(
        tmp_path / "log", story.open(OTHER).attach(OTHER).detach(MAC).items
    )
    trail = Trail(details=True)
    with given_logs([path]) as (logs, unread):
        read = read_all if wanted.any_vm() else recall
        host = Host(OwnNodes(), booted=0.0)
        found = read(logs_of(logs, unread, host), wanted, True)
        trail.read(found.items if isinstance(found, Recalled) else found, NOW)
    assert [(grant.node, grant.mac) for grant in trail.grants()] == [(node, OTHER)]
    (session,) = list(trail.sessions.values())
    assert (session.node, session.end) == (node, "running")
    assert [each.reason for each in session.resources] == [
        "open",
        "start",
        "open",
        "attach",
    ]
    assert trail.findings.all() == []


def test_a_record_without_a_name_in_a_collectors_log_is_not_of_this_host(
    tmp_path: Path,
) -> None:
    story = Story(node="hv2").machine_id().open().start().booted()
    story.node = None
    story.detach()
    story.node = "hv1"
    path = write_log(tmp_path / "log", story.open(OTHER).attach(OTHER).items)
    trail = Trail()
    with given_logs([path]) as (logs, unread):
        trail.read(read_all(logs_of(logs, unread, HOST), Wanted(), True), NOW)
    assert [(grant.node, grant.mac) for grant in trail.grants()] == [
        ("hv2", MAC),
        ("hv1", OTHER),
    ]
