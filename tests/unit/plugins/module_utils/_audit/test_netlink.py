# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import socket
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import netlink
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.echo import (
    Confirmation,
    read_echo,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.netlink import (
    AuditSocket,
    Status,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import AuditError
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import (
    HEADER,
    Forged,
    Kernel,
    answer_status,
    echo,
    install,
    overrun,
)

RECORD = Record("VIRT_RESOURCE", {"vm": "web01", "uuid": "u", "res": "success"})
TEXT = 'vm="web01" uuid=u res=success'
OURS = Confirmation("1795448404.573:345", 1000, 7)
# Kernel 6.18 sent this. The length in the header is the kernel's.
REAL = (
    b",\x01\x00\x00\xc5\t\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00audit(1795448404.573:345):"
    b" pid=%d uid=0 auid=4294967295 ses=4294967295%b msg='virt=qemu resrc=net reason=detach"
    b" vm=756E69742074657374 uuid=c1e2f3a4-0001-4000-8000-000000000011"
    b' old-net="52:54:00:00:00:01" new-net="?" exe="/usr/bin/python3.11" hostname=? addr=?'
    b" terminal=? res=success'"
)
REAL_TEXT = REAL.partition(b"msg='")[2][:-1]


def confirmed(audit: AuditSocket, record: Record) -> Confirmation:
    """Send a record and return the kernel's echo of it."""
    number = audit.post(record)
    answer = audit.confirmations()[number]
    if isinstance(answer, AuditError):
        raise answer
    return answer


SUBJECTS = [
    "",
    " subj=unconfined",
    " subj=?",
    " subj==unconfined",
    " subj=system_u:system_r:init_t:s0",
    " subj=unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023",
]


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("end", [b"", b"\0", b"\0\0"])
def test_match_of_what_a_kernel_sent(subject: str, end: bytes) -> None:
    data = REAL % (os.getpid(), subject.encode("ascii")) + end
    found = read_echo(data[HEADER.size :], os.getpid())
    confirmation = Confirmation("1795448404.573:345", 4294967295, 4294967295)
    assert found == (REAL_TEXT, confirmation)


@pytest.fixture(name="kernel")
def fixture_kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(netlink, "_ECHO_SECONDS", 0.2)
    return install(monkeypatch, Kernel())


@pytest.mark.parametrize(
    "data",
    [
        echo(TEXT, pid=os.getpid() + 1),
        echo(TEXT, record_type=2500),
        echo(TEXT, record_type=1305),
        echo(TEXT + " "),
        echo("x" + TEXT),
        echo(TEXT[:-1]),
        echo(TEXT.replace("success", "failed")),
        echo(TEXT, subject=" comm=x"),
        echo(TEXT)[:-1],
        echo("")[:40],
    ],
    # A pid in the name of a test would differ between the workers of one run.
    ids=[
        "pid",
        "control",
        "syscall",
        "longer",
        "before",
        "shorter",
        "result",
        "field",
        "unquoted",
        "cut",
    ],
)
def test_a_message_that_is_no_echo_of_a_record(
    kernel: Kernel, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netlink, "_ECHO_SECONDS", 0.01)
    kernel.noise, kernel.echoes = [data], False
    with AuditSocket() as audit:
        audit.listen()
        with pytest.raises(AuditError, match="took a VIRT_RESOURCE record and did not"):
            confirmed(audit, RECORD)


@pytest.mark.parametrize("stale", [False, True])
def test_status(kernel: Kernel, stale: bool) -> None:
    kernel.enabled, kernel.daemon, kernel.stale_answers = 2, 4711, stale
    with AuditSocket() as audit:
        audit.status()
        assert audit.status() == Status(2, 4711, lost=3, backlog=2, backlog_limit=64)
    assert [each.closed for each in kernel.sockets] == [True]


def test_send(kernel: Kernel) -> None:
    with AuditSocket() as audit:
        audit.send(RECORD)
    assert kernel.sent == [(2501, TEXT.encode("ascii") + b"\0")]
    assert kernel.listeners == []


NOISE: list[list[bytes | OSError]] = [
    [],
    [overrun()],
    [echo("other"), overrun(), echo(TEXT, record_type=1305)],
    [echo(TEXT, pid=1), echo(TEXT, record_type=2502), echo(TEXT + "x")],
]


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("subject", SUBJECTS[:2])
def test_confirmed(kernel: Kernel, noise: list[bytes | OSError], subject: str) -> None:
    kernel.noise, kernel.subject = noise, subject
    with AuditSocket() as audit:
        audit.listen()
        audit.listen()
        assert confirmed(audit, RECORD) == OURS
    assert [each.groups for each in kernel.sockets] == [0, 1]
    assert kernel.listeners[0].options == [(socket.SOL_SOCKET, 33, 4194304)]
    assert all(each.closed for each in kernel.sockets)


def test_many_at_once(kernel: Kernel) -> None:
    # Two queues of one interface have the same text.
    other = Record("VIRT_CONTROL", {"op": "start"})
    kernel.noise = [echo("other")]
    with AuditSocket() as audit:
        audit.listen()
        numbers = [audit.post(each) for each in (RECORD, other, RECORD)]
        assert audit.confirmations() == dict.fromkeys(numbers, OURS)
        assert audit.confirmations() == {}
    assert len(kernel.texts) == 3


def test_one_of_many_is_refused(kernel: Kernel) -> None:
    other = Record("VIRT_CONTROL", {"op": "start"})
    kernel.refuse = {2500: errno.EPERM}
    with AuditSocket() as audit:
        audit.listen()
        numbers = [audit.post(each) for each in (RECORD, other, RECORD)]
        answers = audit.confirmations()
        assert answers[numbers[0]] == answers[numbers[2]] == OURS
        assert "CAP_AUDIT_WRITE" in str(answers[numbers[1]])


def test_one_of_many_has_no_echo(kernel: Kernel) -> None:
    with AuditSocket() as audit:
        audit.listen()
        first = audit.post(RECORD)
        kernel.echoes = False
        second = audit.post(RECORD)
        answers = audit.confirmations()
    assert answers[first] == OURS
    assert "did not write it" in str(answers[second])


def test_an_older_echo_of_the_same_text_confirms_nothing(kernel: Kernel) -> None:
    with AuditSocket() as audit:
        audit.listen()
        kernel.listeners[0].inbox += [overrun(), echo(TEXT, event="1.000:1")]
        assert confirmed(audit, RECORD) == OURS
        kernel.listeners[0].inbox.append(echo(TEXT, event="1.000:1"))
        kernel.echoes = False
        with pytest.raises(AuditError, match="took a VIRT_RESOURCE record and did not"):
            confirmed(audit, RECORD)


def test_an_echo_of_another_process_confirms_nothing(kernel: Kernel) -> None:
    kernel.noise = [Forged(echo(TEXT, event="1.000:1"))]
    with AuditSocket() as audit:
        audit.listen()
        assert confirmed(audit, RECORD) == OURS
        kernel.echoes = False
        with pytest.raises(AuditError, match="took a VIRT_RESOURCE record and did not"):
            confirmed(audit, RECORD)


def test_a_status_of_another_process_does_not_count(kernel: Kernel) -> None:
    kernel.enabled, kernel.daemon = 0, 4711
    with AuditSocket() as audit:
        kernel.sockets[0].inbox.append(Forged(answer_status(1, 1, 4712, 0)))
        assert audit.status() == Status(0, 4711, lost=3, backlog=2, backlog_limit=64)


def test_endless_messages_of_others_do_not_block_a_task(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netlink, "_ANSWER_SECONDS", 0.05)
    forged = Forged(answer_status(1, 1, 4712, 0))

    class Endless(list[t.Union[bytes, OSError]]):
        def pop(self, *_index: t.Any) -> bytes | OSError:
            return forged

    with AuditSocket() as audit:
        kernel.sockets[0].inbox = Endless([forged])
        with pytest.raises(AuditError, match="timed out"):
            audit.status()


def test_confirmed_needs_listening(kernel: Kernel) -> None:
    with AuditSocket() as audit, pytest.raises(AuditError, match="does not listen"):
        confirmed(audit, RECORD)
    assert kernel.sent == []


@pytest.mark.parametrize("where", ["drain", "wait"])
def test_a_broken_listener(kernel: Kernel, where: str) -> None:
    broken = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    with AuditSocket() as audit:
        audit.listen()
        if where == "wait":
            kernel.noise = [broken]
        else:
            kernel.listeners[0].inbox.append(broken)
        with pytest.raises(AuditError, match="cannot read the kernel's audit records"):
            confirmed(audit, RECORD)


def use_all() -> None:
    with AuditSocket() as audit:
        audit.status()
        audit.listen()
        audit.send(RECORD)


REFUSALS = [
    (2501, errno.EPERM, "needs CAP_AUDIT_WRITE"),
    (2501, errno.ECONNREFUSED, "a user namespace or a container"),
    (2501, errno.EINVAL, "Invalid argument"),
    (1000, errno.EPERM, "initial pid namespace"),
    (
        "listen",
        errno.EPERM,
        "cannot listen to the kernel's audit records: .*CAP_AUDIT_READ",
    ),
    ("bind", errno.EPERM, "cannot reach the kernel's audit system: operation not"),
]


@pytest.mark.parametrize(("what", "code", "message"), REFUSALS)
def test_refused(kernel: Kernel, what: int | str, code: int, message: str) -> None:
    kernel.refuse = {what: code}
    with pytest.raises(AuditError, match=message):
        use_all()
    assert kernel.texts == ([TEXT] if what == 2501 else [])


def test_a_silent_kernel(kernel: Kernel) -> None:
    kernel.silent = True
    with AuditSocket() as audit, pytest.raises(AuditError, match="timed out"):
        audit.status()


@pytest.mark.parametrize(
    "subject", ["rsyslogd (enforce)", "/usr/bin/python3 (complain)"]
)
def test_match_of_a_process_that_apparmor_confines(subject: str) -> None:
    data = REAL % (os.getpid(), f" subj={subject}".encode("ascii"))
    assert read_echo(data[HEADER.size :], os.getpid()) is not None


def test_a_refused_socket_is_closed(kernel: Kernel) -> None:
    kernel.refuse = {"bind": errno.EPERM}
    with pytest.raises(AuditError):
        AuditSocket()
    assert [each.closed for each in kernel.sockets] == [True]
