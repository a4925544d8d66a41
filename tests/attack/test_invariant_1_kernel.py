# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Only the kernel can tell whether it took a record.

A message that others send to the task's netlink ports is no answer.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.netlink import (
    AuditSocket,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import Record
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import AuditError
from ansible_collections.virtaudit.qemu.tests.attack.attacker import (
    CAP_NET_ADMIN,
    repeating,
)
from ansible_collections.virtaudit.qemu.tests.fault import host

_RECORD = Record("VIRT_RESOURCE", {"vm": "vafault", "uuid": "u", "res": "success"})
_HEADER = struct.Struct("=IHHII")
_AUDIT_GET, _VIRT_RESOURCE = 1000, 2501
_HEAD_START_SECONDS = 0.3


def ports() -> list[int]:
    """Return the netlink ports on which this process waits for messages of the audit system."""
    mine = {
        int(match[1])
        for name in os.listdir("/proc/self/fd")
        if (match := re.fullmatch(r"socket:\[(\d+)\]", _target(name)))
    }
    with open("/proc/self/net/netlink", encoding="ascii") as handle:
        rows = [line.split() for line in handle][1:]
    # sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops, Inode
    return [int(row[2]) for row in rows if row[1] == "9" and int(row[9]) in mine]


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


def _send(ports: list[int], messages: list[bytes]) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as sender:
        for port in ports:
            for message in messages:
                sender.sendto(message, (port, 0))


@pytest.fixture(name="audit")
def fixture_audit() -> Iterator[AuditSocket]:
    with AuditSocket() as audit:
        audit.listen()
        yield audit


@pytest.fixture(name="disabled")
def fixture_disabled() -> Iterator[None]:
    """Switch auditing off, so that the kernel echoes nothing."""
    host.disable_audit()
    try:
        yield
    finally:
        host.enable_audit()


@pytest.mark.usefixtures("disabled")
def test_invariant_1_an_echo_of_a_users_process_proves_nothing(
    audit: AuditSocket,
) -> None:
    text = f"audit(1.000:1): pid={os.getpid()} uid=0 auid=4242 ses=1 msg='{_RECORD.text()}'"
    echo = _HEADER.pack(16 + len(text), _VIRT_RESOURCE, 0, 0, 0) + text.encode()
    mine = ports()
    assert len(mine) == 2
    with (repeating(lambda: _send(mine, [echo]), capabilities=(CAP_NET_ADMIN,)),):
        number = audit.post(_RECORD)
        answer = audit.confirmations()[number]
    assert isinstance(answer, AuditError)
    assert "took a VIRT_RESOURCE record and did not" in str(answer)


@pytest.mark.usefixtures("disabled")
def test_invariant_1_a_status_of_a_users_process_does_not_count(
    audit: AuditSocket,
) -> None:
    status = struct.pack("=8I", 0, 1, 1, os.getpid(), 0, 64, 0, 0)
    answers = [
        _HEADER.pack(16 + len(status), _AUDIT_GET, 0, number, 0) + status
        for number in range(1, 6)
    ]
    mine = ports()
    with repeating(lambda: _send(mine, answers), capabilities=(CAP_NET_ADMIN,)):
        # Its answers are in the queue before those of the kernel.
        time.sleep(_HEAD_START_SECONDS)
        found = [audit.status() for _round in range(5)]
    assert {each.enabled for each in found} == {0}
    assert os.getpid() not in {each.pid for each in found}
