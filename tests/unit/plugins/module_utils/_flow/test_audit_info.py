# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import itertools
import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._analysis.place import (
    Place,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    LogError,
    OptionError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import (
    audit_info,
    compare,
    host_view,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.host_view import (
    Holder,
    Look,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import files, names
from ansible_collections.virtaudit.qemu.plugins.module_utils._log.boot import Host
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.answer import (
    Answer,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import MAC, UUID
from ansible_collections.virtaudit.qemu.tests.unit.support.lines import (
    line_of,
    noise,
    write_log,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.reference import LIBVIRT_LOG
from ansible_collections.virtaudit.qemu.tests.unit.support.story import Story

UUID2 = "c1e2f3a4-0001-4000-8000-000000000022"
OTHER = "52:54:00:00:00:02"


def ask(**params: t.Any) -> dict[str, t.Any]:
    given = {
        **dict.fromkeys(("name", "uuid", "mac", "logs", "since", "until")),
        "events": False,
        "history": False,
        "verify": False,
        **params,
    }
    answer = Answer()
    audit_info.run(given, answer)
    return answer.result()


@pytest.fixture(name="log")
def fixture_log(tmp_path: Path) -> str:
    story = Story().machine_id().open().start().booted()
    story.vm("db01", UUID2).open(OTHER, ok=False).open(OTHER).attach(OTHER)
    return write_log(tmp_path / "audit.log", story.items)


def test_sessions_are_in_the_order_of_their_starts(tmp_path: Path) -> None:
    """A log may begin to name its host. Each name has serial numbers of its own."""
    story = Story().start().booted().stop()
    for number in range(100):
        story.vm(f"vm{number}", f"c1e2f3a4-0001-4000-8000-{number:012}")
        story.node = "hv1" if number == 50 else None
        story.later(1).start().booted().stop()
    sessions = ask(logs=[write_log(tmp_path / "audit.log", story.items)])["sessions"]
    starts = [session["start"] for session in sessions]
    assert len(starts) == 101
    assert starts == sorted(starts)


def test_all(log: str) -> None:
    result = ask(logs=[log])
    assert result["changed"] is False
    assert [(grant["vm"], grant["mac"]) for grant in result["grants"]] == [
        ("web01", MAC),
        ("db01", OTHER),
    ]
    assert result["grants"][0]["devices"] == [
        {
            "path": "/dev/net/tun",
            "rdev": "0A:C8",
            "dev": "vt01",
            "fd": 7,
            "event": "1000.000:102",
        }
    ]
    assert [finding["code"] for finding in result["findings"]] == ["failed_open"]
    assert [session["vm"] for session in result["sessions"]] == ["web01"]
    assert "events" not in result
    stats = result["stats"]
    assert (stats["files"], stats["unread"], stats["records"]) == ([log], [], 7)
    assert stats["bytes"] == os.path.getsize(log)
    assert result["warnings"] == []


@pytest.mark.parametrize(
    ("params", "vms", "findings"),
    [
        ({"name": "web01"}, ["web01"], 0),
        ({"name": "db01"}, ["db01"], 1),
        ({"uuid": UUID.upper()}, ["web01"], 0),
        ({"uuid": UUID2}, ["db01"], 1),
        ({"mac": MAC.upper()}, ["web01"], 0),
        ({"mac": OTHER}, ["db01"], 1),
        ({"name": "web01", "mac": OTHER}, [], 0),
        ({"name": "db01", "uuid": UUID}, [], 0),
        ({"name": "web"}, [], 0),
        ({"since": "1000.5"}, ["web01", "db01"], 0),
        ({"until": "999"}, [], 0),
    ],
)
def test_what_is_asked_for(
    params: dict[str, str], vms: list[str], findings: int, log: str
) -> None:
    result = ask(logs=[log], **params)
    assert [grant["vm"] for grant in result["grants"]] == vms
    assert len(result["findings"]) == findings


def test_events(log: str) -> None:
    result = ask(logs=[log], events=True, name="web01")
    assert [event["event"] for event in result["events"]] == [
        f"1000.000:{serial}" for serial in range(101, 105)
    ]
    assert result["events"][1]["fields"]["path"] == "/dev/net/tun"
    assert result["events"][1]["auid"] == 1000
    reasons = [each["reason"] for each in result["sessions"][0]["resources"]]
    assert reasons == ["open", "start"]
    assert len(ask(logs=[log], events=True, mac=OTHER)["events"]) == 3
    assert ask(logs=[log], events=True, since="1001")["events"] == []


@pytest.mark.parametrize(
    ("asked", "events"),
    [({"name": "db01"}, 26), ({"uuid": UUID}, 26), ({"mac": "52:54:00:00:11:06"}, 1)],
)
def test_a_vm_that_has_stopped(asked: dict[str, str], events: int) -> None:
    """The grants from libvirt's own records end with the stop of their VM."""
    result = ask(logs=[str(LIBVIRT_LOG)], events=True, **asked)
    assert result["grants"] == []
    assert [each["code"] for each in result["findings"]] == ["failed_open"]
    assert [each["end"] for each in result["sessions"]] == ["stopped"]
    assert len(result["events"]) == events


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"name": ""}, "^name: a VM needs a name"),
        ({"uuid": "x"}, "^uuid: 'x' is not a UUID"),
        ({"mac": "52:54:00"}, "^mac: .*52:54:00"),
        ({"since": "soon"}, "^since: 'soon' is not a time"),
        ({"until": "2026-99-01"}, "^until: '2026-99-01' is not a time"),
        ({"since": "20", "until": "10"}, r"^since: 20 is after until \(10\)"),
        ({"verify": True, "until": "10"}, "^verify: the module can compare only"),
        ({"logs": []}, "^logs: is empty"),
    ],
)
def test_refuses(params: dict[str, t.Any], problem: str, log: str) -> None:
    with pytest.raises(OptionError, match=problem):
        ask(**{"logs": [log], **params})


def test_verify_needs_root(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(OptionError, match=r"^verify: .*become: true"):
        ask(logs=[log], verify=True)


def test_no_log_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LogError, match=r"could read none of them: .*/x \(No such file"):
        ask(logs=[str(tmp_path / "x")])
    monkeypatch.setattr(files, "log_path", lambda: str(tmp_path / "audit.log"))
    with pytest.raises(LogError, match=r"audit\.log \(No such file"):
        ask()


def test_some_logs_are_missing(log: str, tmp_path: Path) -> None:
    whole = gzip.compress(Path(log).read_bytes())
    (tmp_path / "cut.gz").write_bytes(whole[:-9])
    result = ask(logs=[log, str(tmp_path / "x"), str(tmp_path / "cut.gz")])
    assert len(result["grants"]) == 2
    assert [each["path"] for each in result["stats"]["unread"]] == [
        str(tmp_path / "x"),
        str(tmp_path / "cut.gz"),
    ]
    assert "x could not be read: No such file" in result["warnings"][0]
    assert "is missing from the answer" in result["warnings"][0]
    assert "it breaks off" in result["warnings"][1]


def test_verify_reads_all_and_looks_twice(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def look() -> Look:
        looks.append(1)
        return Look({}, {"tap9": None})

    def add_lost(*_arguments: object) -> None:
        raise AuditError("no audit here")

    monkeypatch.setattr(host_view, "look", look)
    monkeypatch.setattr(compare, "add_lost", add_lost)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = ask(logs=[log], verify=True)
    assert len(looks) == 2
    assert [grant["live"] for grant in result["grants"]] == [False, False]
    assert sorted(each["code"] for each in result["findings"]) == [
        "failed_open",
        "leaked_device",
        "stale_grant",
        "stale_grant",
    ]
    assert result["warnings"] == [
        "logs: they name no host, and verify compares them with this one; do not use verify for the logs of another host",
        "audit: the module could not ask how many records the kernel lost: no audit here",
    ]
    result = ask(logs=[log], verify=True, mac=MAC)
    assert [each["code"] for each in result["findings"]] == ["stale_grant"]
    assert result["stats"]["records"] == 7


def test_verify_says_what_it_could_not_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap = Device("/dev/net/tun", "0A:C8", "vt01", 7)
    qemu = Holder(Process(1, 1), 900.0, "/usr/bin/qemu", True, "web01", UUID, (tap,))
    unknown = Place(None, True, is_known=False)
    look = Look({qemu.process: qemu}, {"vt01": None}, {"vt01": unknown})
    monkeypatch.setattr(host_view, "look", lambda: look)
    monkeypatch.setattr(compare, "add_lost", lambda *_arguments: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    story = Story(node=os.uname().nodename).machine_id().open()
    story.start(network=Network("ovs0", filter="mac")).booted()
    result = ask(logs=[write_log(tmp_path / "log", story.items)], verify=True)
    assert (result["findings"], result["warnings"]) == (
        [],
        [
            "verify: Open vSwitch's database does not answer, so the module could not check on which bridge these NICs"
            f" are: {MAC} of VM web01",
            f"verify: the module could not check whether these NICs have their packet filter: {MAC} of VM web01",
        ],
    )


def test_verify_needs_logs_of_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_view, "look", lambda: Look({}, {}))
    monkeypatch.setattr(compare, "add_lost", lambda *_arguments: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    others = write_log(tmp_path / "other", Story(node="elsewhere").booted().items)
    with pytest.raises(OptionError, match=r"^verify: .*elsewhere and not of this host"):
        ask(logs=[others], verify=True)
    own = Story(node=os.uname().nodename).booted().items
    named = write_log(tmp_path / "named", own)
    assert ask(logs=[others, named], verify=True)["warnings"] == []
    # The host's own log, given by its name.
    nameless = write_log(tmp_path / "audit.log", Story().booted().items)
    assert len(ask(logs=[nameless], verify=True)["warnings"]) == 1
    monkeypatch.setattr(names, "log_path", lambda: nameless)
    assert ask(logs=[nameless], verify=True)["warnings"] == []
    assert ask(logs=[nameless, named], verify=True)["warnings"] == []


@pytest.mark.parametrize("form", ["May 12 12:47:59 {} audispd: ", "node={} "])
def test_verify_needs_copies_of_logs_of_this_host(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_view, "look", lambda: Look({}, {}))
    monkeypatch.setattr(compare, "add_lost", lambda *_arguments: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    paths = []
    for host in ("elsewhere", os.uname().nodename):
        items = Story().machine_id().open().start().booted().items
        content = "".join(form.format(host) + line_of(item) for item in items)
        paths.append(tmp_path / host)
        paths[-1].write_text(content)
    with pytest.raises(OptionError, match=r"^verify: .*elsewhere and not of this host"):
        ask(logs=[str(paths[0])], verify=True)
    result = ask(logs=[str(paths[1])], verify=True)
    assert [each["code"] for each in result["findings"]] == ["stale_grant"]
    assert result["warnings"] == []


def rotated(path: Path) -> tuple[str, str, str]:
    """Return the contents of a host's three log files."""
    story = Story().machine_id().open().start().booted()
    old = Path(write_log(path, story.items)).read_text()
    story = Story("db01", UUID2).later(2000)
    story.serial = 300
    items = story.machine_id().open(OTHER).start(OTHER).booted().items
    middle = Path(write_log(path, items)).read_text() + noise(3100, 400, 3000)
    path.unlink()
    return old, middle, noise(6200, 3500, 300)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("asked", [{}, {"name": "web01"}, {"mac": MAC}])
@pytest.mark.parametrize("copy", ["packed", "dated", "cut", "longer", "none"])
def test_a_copy_of_a_log_beside_it_is_no_boot(
    copy: str,
    asked: dict[str, str],
    own: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "audit.log"
    old, middle, new = rotated(log)
    (tmp_path / "audit.log.2").write_text(old)
    (tmp_path / "audit.log.1").write_text(middle)
    log.write_text(new)
    if copy == "packed":
        (tmp_path / "audit.log.1.gz").write_bytes(gzip.compress(middle.encode()))
    elif copy == "dated":
        (tmp_path / "audit.log-20260101").write_text(middle)
    elif copy == "cut":
        lines = middle.splitlines(keepends=True)
        (tmp_path / "audit.log-20260101").write_text("".join(lines[:2000]))
    elif copy == "longer":
        (tmp_path / "audit.log-20260101").write_text(old + middle)
    for module in (files, names):
        monkeypatch.setattr(module, "log_path", lambda: str(log))
    host = Host(frozenset((None,)), 900.0)
    monkeypatch.setattr(Host, "this", lambda: host)
    answer = ask(logs=None if own else [str(tmp_path)], history=not asked, **asked)
    held = [UUID] if asked else [UUID, UUID2]
    assert [grant["uuid"] for grant in answer["grants"]] == held
    assert [each["uuid"] for each in answer.get("history") or ()] == (
        [] if asked else held
    )
    alive = [each["end"] for each in answer["sessions"]]
    assert alive == ["running"] * len(held)


@pytest.mark.parametrize("first", [0, 1, 5, 12])
@pytest.mark.parametrize("asked", [{}, {"name": "web01"}])
def test_a_boot_that_two_copies_of_a_log_have(
    asked: dict[str, str], first: int, tmp_path: Path
) -> None:
    before = Story("db01", UUID2)
    before.serial = 4000
    before.machine_id().open(OTHER).start(OTHER).booted().later(600).stop()
    boot = (
        noise(1660, 5000, 1)
        + noise(1700, 77, 1, kind="DAEMON_START")
        + noise(1701, 2, 2)
        + "type=SYSTEM_BOOT msg=audit(1702.500:4): pid=300 uid=0 msg='x'\n"
        + noise(1703, 5, 1)
    )
    after = Story().later(800)
    after.serial = 50
    after.machine_id().open().start().booted()
    later = Story("app01", UUID[:-1] + "9").later(50_000)
    later.serial = 101
    later.machine_id().open("52:54:00:00:00:03").start("52:54:00:00:00:03").booted()
    parts = [
        Path(write_log(tmp_path / "part", story.items)).read_text()
        for story in (before, after, later)
    ]
    (tmp_path / "part").unlink()
    monday = parts[0] + boot + parts[1]
    lines = (monday + parts[2]).splitlines(keepends=True)
    for name, text in (("monday", monday), ("tuesday", "".join(lines[first:]))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "audit.log").write_text(text)
    answer = ask(logs=[str(tmp_path / "monday"), str(tmp_path / "tuesday")], **asked)
    held = [UUID] if asked else [UUID, UUID[:-1] + "9"]
    assert [grant["uuid"] for grant in answer["grants"]] == held


def test_the_answer_says_what_it_covers(
    log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(2000.01)
    monkeypatch.setattr(time, "time", lambda: next(clock))
    asked = ask(logs=[log], name="web01", uuid=UUID.upper(), since="1000")["asked"]
    assert asked == {
        "name": "web01",
        "uuid": UUID,
        "mac": None,
        "since": "1970-01-01T00:16:40.000Z",
        "until": None,
        "own_logs": False,
        # The time before the first log was opened, minus one tick of the kernel's clock.
        "as_of": "1970-01-01T00:33:20.000Z",
    }


def test_the_answer_about_one_vm_says_if_it_goes_back_to_a_boot_only(
    tmp_path: Path,
) -> None:
    story = Story().machine_id().open().start().booted().later(100).host_boots()
    story.later(10).vm("db01", UUID2).machine_id().open().start().booted()
    path = write_log(tmp_path / "audit.log", story.items)
    asked = {"logs": [path], "events": True}
    for vm in ({"name": "web01"}, {"uuid": UUID}):
        result = ask(**asked, **vm)
        assert result["events"] == []
        assert result["asked"]["boot"] is not None
    for vm in ({"name": "db01"}, {}, {"name": "web01", "since": "0"}):
        assert "boot" not in ask(**asked, **vm)["asked"]


def test_a_warning_does_not_deny_records_from_before_the_boot(tmp_path: Path) -> None:
    story = Story().start().booted().stop().vm("db01", UUID2).later(100).booted()
    story.later(80).booted().later(20).host_boots().later(10).booted()
    path = write_log(tmp_path / "audit.log", story.items)
    since = "1970-01-01T00:20:05Z"
    (warning,) = ask(logs=[path], name="web01", since=since)["warnings"]
    assert warning.startswith("no record since the host booted has name web01")
