# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import (
    namespaces,
    netlink,
    proof,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.daemon import (
    Daemon,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.mode import Mode
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    RecordError,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import (
    Kernel,
    install,
)

RECORD = Record("VIRT_RESOURCE", {"reason": "open", "vm": "web01", "net": None})
TEXT = 'reason=open vm="web01" net=?'
MEND = "Start the audit daemon ('systemctl start auditd') and enable auditing"
# A daemon is no help here, because this process has no right to talk to the kernel's audit system.
FORBIDDEN = "operation not permitted|connection refused|cannot reach|cannot listen"
MEND_FORBIDDEN = "Run the task as root on the host itself (become: true)"


def mend(problem: str) -> str:
    return MEND_FORBIDDEN if re.search(FORBIDDEN, problem) else MEND


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        return child.pid


# the state of the kernel, the text of the message; the task sees all of these before it opens
# anything
NOT_READY = [
    (Kernel(enabled=0), "auditing is disabled \\(enabled=0\\)"),
    (Kernel(daemon=0), "no audit daemon is registered"),
    (Kernel(daemon=dead_pid()), "the audit daemon \\(pid \\d+\\) has died"),
    (Kernel(refuse={1000: errno.EPERM}), "operation not permitted"),
    (Kernel(refuse={1000: errno.ECONNREFUSED}), "connection refused"),
    (Kernel(refuse={"bind": errno.EPERM}), "cannot reach the kernel's audit system"),
    (Kernel(refuse={"listen": errno.EPERM}), "cannot listen to the kernel's audit"),
]
# the task sees these when it sends a record
NOT_WRITTEN = [
    (Kernel(echoes=False), "took a VIRT_RESOURCE record and did not write it"),
    (Kernel(refuse={2501: errno.EPERM}), "operation not permitted"),
    (Kernel(refuse={2501: errno.ECONNREFUSED}), "connection refused"),
]


@pytest.fixture(autouse=True)
def fixture_short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "_ECHO_SECONDS", 0.2)


@pytest.mark.parametrize(("kernel", "problem"), NOT_READY)
def test_required_hands_nothing_over(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, problem: str
) -> None:
    kernel = install(monkeypatch, kernel)
    with Auditor("required") as auditor, pytest.raises(AuditError) as caught:
        auditor.prepare()
    assert caught.match(problem)
    assert caught.match("Nothing was handed to qemu")
    assert mend(problem) in str(caught.value)
    assert kernel.texts == []
    assert all(each.closed for each in kernel.sockets if each.bound)


@pytest.mark.parametrize(("kernel", "problem"), NOT_WRITTEN)
def test_required_fails_when_a_record_does_not_land(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, problem: str
) -> None:
    kernel = install(monkeypatch, kernel)
    with Auditor("required") as auditor:
        auditor.prepare()
        with pytest.raises(AuditError, match="reason=open was not written") as caught:
            auditor.write(RECORD)
    assert caught.match(problem)
    assert mend(problem) in str(caught.value)
    assert [(each["confirmed"], each["event"]) for each in auditor.records] == [
        (False, None)
    ]


@pytest.mark.parametrize(("kernel", "problem"), NOT_READY + NOT_WRITTEN)
def test_best_effort_warns_and_continues(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, problem: str
) -> None:
    kernel = install(monkeypatch, kernel)
    with Auditor("best_effort") as auditor:
        auditor.prepare()
        auditor.write(RECORD)
        auditor.write(RECORD)
    text = "\n".join(auditor.warnings)
    assert re.search(problem, text)
    assert text.startswith("audit: ")
    assert "Nothing was handed to qemu" not in text
    assert len(auditor.warnings) == len(set(auditor.warnings))
    assert len(auditor.records) == 2


# This record cannot be made into a text.
BAD = Record("VIRT_RESOURCE", {"reason": "detach", "net": "x res=success"})


def test_a_record_that_cannot_be_made_keeps_no_other_record_from_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("required") as auditor, pytest.raises(RecordError) as caught:
        auditor.together([RECORD, BAD, RECORD])
    assert str(caught.value) == (
        "audit: the record reason=detach was not written: the audit field net cannot hold 'x res=success'"
    )
    assert kernel.texts == [TEXT, TEXT]
    assert auditor.missed
    assert [each["confirmed"] for each in auditor.records] == [True, False, True]


def test_a_record_that_did_not_land_comes_before_one_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, Kernel(echoes=False))
    with (
        Auditor("required") as auditor,
        pytest.raises(AuditError, match="reason=open was not written"),
    ):
        auditor.together([BAD, RECORD])


def test_best_effort_warns_of_a_record_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("best_effort") as auditor:
        auditor.together([BAD, RECORD])
    assert kernel.texts == [TEXT]
    assert "net cannot hold 'x res=success'" in str(auditor.warnings)


def test_required_says_that_something_was_handed_over_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("required") as auditor:
        auditor.write(RECORD)
        kernel.enabled = 0
        with pytest.raises(AuditError, match="Nothing more was handed to qemu"):
            auditor.check()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"daemon": 0}, "no audit daemon is registered"),
        ({"lost": 5}, "the kernel has lost 2 records since this task began"),
    ],
)
def test_an_echo_is_no_proof_when_no_daemon_writes_it(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, int], problem: str
) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("required") as auditor:
        auditor.write(RECORD)
        for name, value in change.items():
            setattr(kernel, name, value)
        with pytest.raises(AuditError, match=problem):
            auditor.write(RECORD)
        with pytest.raises(AuditError, match=problem):
            auditor.check()
    assert auditor.missed
    assert [each["confirmed"] for each in auditor.records] == [True, False]


def test_records_that_were_lost_before_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, Kernel(lost=1000))
    with Auditor("required") as auditor:
        auditor.write(RECORD)
    assert [each["confirmed"] for each in auditor.records] == [True]


def test_required_keeps_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("required") as auditor:
        assert kernel.sockets == []
        auditor.prepare()
        auditor.prepare()
        assert auditor.write(RECORD) == "1795448404.573:345"
    assert len(kernel.listeners) == 1
    assert kernel.texts == [TEXT]
    assert auditor.warnings == []
    assert not auditor.missed
    assert auditor.result() == {
        "mode": "required",
        "daemon": os.getpid(),
        "auid": 1000,
        "ses": 7,
        "records": [
            {
                "type": "VIRT_RESOURCE",
                "event": "1795448404.573:345",
                "confirmed": True,
                "fields": {"reason": "open", "vm": "web01", "net": None},
            }
        ],
    }


@pytest.mark.parametrize("kernel", [Kernel(), Kernel(enabled=0)])
def test_off_opens_no_socket(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> None:
    kernel = install(monkeypatch, kernel)
    with Auditor("off") as auditor:
        auditor.check()
        auditor.look()
        auditor.prepare()
        assert auditor.write(RECORD) is None
        assert auditor.write_anyway(RECORD) is None
    assert kernel.sockets == []
    assert auditor.warnings == []
    assert auditor.result() == {
        "mode": "off",
        "daemon": None,
        "auid": None,
        "ses": None,
        "records": [],
    }


@pytest.mark.parametrize("mode", ["required", "best_effort"])
def test_a_task_without_records_only_warns(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    kernel = install(monkeypatch, Kernel(daemon=0))
    with Auditor("required" if mode == "required" else "best_effort") as auditor:
        auditor.look()
        auditor.look()
    (warning,) = auditor.warnings
    assert "no audit daemon is registered" in warning
    assert "Nothing had to be recorded" in warning
    assert kernel.listeners == []


def test_a_failure_after_the_hand_over_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("required") as auditor:
        auditor.prepare()
        kernel.echoes = False
        assert auditor.write_anyway(RECORD) is None
        kernel.echoes = True
        assert auditor.write_anyway(RECORD) == "1795448404.573:345"
    (warning,) = auditor.warnings
    assert auditor.missed
    assert "reason=open was not written" in warning
    assert [each["confirmed"] for each in auditor.records] == [False, True]


def test_required_without_preparation_proves_or_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, Kernel())
    event = None
    with Auditor("required") as auditor, contextlib.suppress(AuditError):
        event = auditor.write(RECORD)
        assert event is not None


@pytest.fixture(name="impatient")
def fixture_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_DISK_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_an_echo_is_no_proof_when_the_daemon_drops_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = install(monkeypatch, Kernel(writes=False))
    with Auditor("required") as auditor:
        auditor.write(RECORD)
        with pytest.raises(AuditError, match="has suspended its logging") as caught:
            auditor.check()
        assert caught.match("Nothing more was handed to qemu")
        assert caught.match(rf"'kill -USR2 {os.getpid()}' resumes it")
        assert caught.match("Make room on the disk of its log")
        assert auditor.missed
        assert list(auditor.unproved.values()) == [RECORD]
        for refuses in (auditor.check, auditor.prove):
            with pytest.raises(AuditError, match="has not written 1 of this task's"):
                refuses()
        auditor.prove_anyway()
        assert "has suspended its logging" in auditor.warnings[0]
    assert kernel.texts == [TEXT]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("mode", ["best_effort", "off"])
def test_without_required_a_record_on_no_disk_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    install(monkeypatch, Kernel(writes=False))
    with Auditor(mode) as auditor:
        auditor.write(RECORD)
        auditor.check()
        auditor.prove()
    warned = [text for text in auditor.warnings if "suspended its logging" in text]
    assert len(warned) == (mode == "best_effort")
    assert not auditor.missed
    assert auditor.unproved == {}


def test_a_record_in_the_log_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Kernel())
    with Auditor("required") as auditor:
        auditor.write(RECORD)
        assert list(auditor.unproved.values()) == [RECORD]
        auditor.check()
        assert auditor.unproved == {}
        auditor.write(RECORD)
        auditor.prove()
        assert auditor.unproved == {}
    assert auditor.warnings == []


@pytest.mark.parametrize("mode", ["required", "best_effort"])
def test_without_a_log_the_echo_is_enough(
    monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    install(monkeypatch, Kernel(writes=False))
    monkeypatch.setattr(Daemon, "log", lambda _self: None)
    with Auditor(mode) as auditor:
        auditor.look()
        assert auditor.warnings == []
        auditor.write(RECORD)
        auditor.check()
        auditor.prove()
        assert auditor.unproved == {}
    (warning,) = auditor.warnings
    assert "the audit daemon is configured to write no log" in warning
    assert not auditor.missed


def test_a_log_that_cannot_be_read_is_no_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = install(monkeypatch, Kernel())
    monkeypatch.setattr(Daemon, "log", lambda _self: "/nonexistent/audit.log")
    with Auditor("required") as auditor:
        for _time in range(2):
            with pytest.raises(AuditError, match=r"cannot be read .No such"):
                auditor.check()
    assert kernel.texts == []
    with Auditor("best_effort") as auditor:
        assert auditor.write(RECORD) == "1795448404.573:345"
        auditor.prove()
    (warning,) = auditor.warnings
    assert "/nonexistent/audit.log cannot be read" in warning


def test_a_new_daemon_does_not_count_as_the_earlier_one(
    monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("required") as auditor:
        auditor.write(RECORD)
        kernel.daemon = start().pid
        with pytest.raises(AuditError, match="daemon has changed since this task"):
            auditor.write(RECORD)
        with pytest.raises(AuditError, match="daemon has changed since this task"):
            auditor.check()
    assert auditor.missed


def test_a_zombie_is_no_daemon(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    child = start()
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    install(monkeypatch, Kernel(daemon=child.pid))
    with Auditor("required") as auditor, pytest.raises(AuditError, match="has died"):
        auditor.check()


@pytest.mark.parametrize("kind", ["network", "pid", "user"])
def test_another_namespace_is_named(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    kernel = install(monkeypatch, Kernel(echoes=False))
    monkeypatch.setattr(namespaces, "foreign", lambda: kind)
    why = f"this task does not run in the host's {kind} namespace"
    with Auditor("required") as auditor, pytest.raises(AuditError, match=why) as caught:
        auditor.check()
    assert caught.match("Run the task on the host itself and not in a container")
    with Auditor("best_effort") as auditor:
        auditor.write(RECORD)
        auditor.prove()
    (warning,) = auditor.warnings
    assert why in warning
    assert "not written" not in warning
    assert kernel.texts == [TEXT]
    assert kernel.listeners == []


def test_each_record_has_the_ticket(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = install(monkeypatch, Kernel())
    record = Record("VIRT_CONTROL", {"op": "start", "exe": "/x", "res": "success"})
    with Auditor("required", "CHG 1") as auditor:
        auditor.prepare()
        auditor.write(record)
        auditor.write_anyway(record)
        found = [each["fields"]["ticket"] for each in auditor.records]
    assert found == ["CHG 1"] * 2
    assert kernel.texts == ['op=start ticket=4348472031 exe="/x" res=success'] * 2


OTHER = Record("VIRT_CONTROL", {"op": "start", "vm": "web01"})


def test_many_together(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("required") as auditor:
        sent = auditor.together([RECORD, OTHER] * 40)
    assert kernel.texts == [TEXT, 'op=start vm="web01"'] * 40
    assert {each.event for each in sent} == {"1795448404.573:345"}
    assert all(each.good for each in sent)
    assert [each["confirmed"] for each in auditor.records] == [True] * 80


@pytest.mark.parametrize("mode", ["required", "best_effort"])
def test_one_of_many_is_not_written(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    install(monkeypatch, Kernel(refuse={2500: errno.EPERM}))
    with Auditor("required" if mode == "required" else "best_effort") as auditor:
        sent = [auditor.send(each) for each in (RECORD, OTHER, RECORD)]
        if mode == "required":
            with pytest.raises(AuditError, match="operation not permitted"):
                auditor.confirm()
        else:
            auditor.confirm()
    assert [each.event is not None for each in sent] == [True, False, True]
    assert [each.good for each in sent] == [True, mode != "required", True]
    assert auditor.missed is (mode == "required")
    assert [each["confirmed"] for each in auditor.records] == [True, False, True]


def test_a_daemon_that_died_has_written_no_record_of_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = install(monkeypatch, Kernel())
    with Auditor("required") as auditor:
        auditor.prepare()
        sent = [auditor.send(RECORD), auditor.send(OTHER)]
        kernel.daemon = 0
        with pytest.raises(AuditError, match="no audit daemon is registered"):
            auditor.confirm()
    assert not any(each.good for each in sent)
