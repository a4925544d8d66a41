# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A record that somebody other than root wrote is no evidence. It ends no grant, and the module reports it."""

from __future__ import annotations

import functools

import pytest

from ansible_collections.virtaudit.qemu.tests.attack.attacker import (
    CAP_AUDIT_WRITE,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    DONE,
    send_record,
    try_as,
)
from ansible_collections.virtaudit.qemu.tests.attack.conftest import (
    TAP_WITHOUT_VHOST,
    Vm,
)
from ansible_collections.virtaudit.qemu.tests.fault.scenarios import (
    MACS,
    MACVTAP,
)

UID = 1000
# The namespaces of a container whose users are those of the host.
CONTAINER = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
_CONTROL, _RESOURCE = 2500, 2501
_TAIL = 'exe="/usr/bin/python3.11" hostname=? addr=? terminal=? res=success'
DETACHES = [
    (_RESOURCE, f'resrc=net reason=detach {{vm}} old-net="{mac}" new-net="?"')
    for mac in MACS
]
FORGED = {
    "detach": DETACHES,
    "stop": [(_CONTROL, "op=stop reason=destroyed {vm} vm-pid={pid}")],
}


def forge(vm: Vm, what: str, uid: int, namespaces: int) -> str:
    """Write records about a VM as a user who may write audit records. Return the result of the last one."""
    about = {"vm": f'vm="{vm.name}" uuid={vm.uuid}', "pid": vm.pid()}
    came = ""
    for number, text in FORGED[what]:
        record = f"virt=qemu {text.format(**about)} {_TAIL}"
        send = functools.partial(send_record, number, record)
        came = try_as(send, uid, (CAP_AUDIT_WRITE,), namespaces)
    return came


@pytest.mark.parametrize("what", list(FORGED))
@pytest.mark.parametrize("namespaces", [0, CONTAINER], ids=["host", "container"])
def test_invariant_8_a_user_that_may_write_records_ends_no_grant(
    vm: Vm, what: str, namespaces: int
) -> None:
    assert not vm.attach([TAP_WITHOUT_VHOST, MACVTAP]).get("failed")
    before = len(vm.records())
    assert forge(vm, what, UID, namespaces) == DONE
    # It is in the daemon's log like any record.
    assert len(vm.records()) == before + len(FORGED[what])
    told = vm.info(verify=True)
    assert sorted(grant["mac"] for grant in told["grants"]) == MACS
    assert [grant["live"] for grant in told["grants"]] == [True, True]
    found = [each["code"] for each in told["findings"]]
    assert set(found) - {"failed_open"} == {"untrusted_record"}
    again = vm.attach([TAP_WITHOUT_VHOST, MACVTAP])
    assert [nic["action"] for nic in again["interfaces"]] == ["unchanged"] * 2
    # The true end is on record as well as the false one.
    done = vm.detach(force=True)
    assert not done.get("failed"), done
    sent = [each["fields"].get("reason") for each in done["audit"]["records"]]
    assert (sent.count("detach"), sent.count("close")) == (2, 3)
    assert vm.info()["grants"] == []


def test_invariant_8_a_user_namespace_of_ones_own_gives_no_right(vm: Vm) -> None:
    """The kernel itself refuses the records of a user who is root only in an own user namespace."""
    assert not vm.attach([TAP_WITHOUT_VHOST, MACVTAP]).get("failed")
    before = vm.records()
    assert forge(vm, "detach", UID, CLONE_NEWUSER) == "ECONNREFUSED"
    assert vm.records() == before
