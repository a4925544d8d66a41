# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.messages import (
    Messages,
    Vm,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    MAX_LIST_BYTES,
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.record import (
    MAX_TEXT_BYTES,
    Record,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.task import (
    MAX_TICKET_BYTES,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._device import Device
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.device import Attempt
from ansible_collections.virtaudit.qemu.tests.unit.support.reference import (
    keys_of,
    libvirt_records,
)

UUID = "c1e2f3a4-0001-4000-8000-000000000011"
MAC = "52:54:00:00:00:01"
VM = f'vm="web01" uuid={UUID}'
END = 'exe="/usr/bin/python3.11" hostname=? addr=192.0.2.7 terminal=pts/0 res='
BARE = 'exe="/usr/bin/python3.11" hostname=? addr=? terminal=? res='
TUN = Device("/dev/net/tun", "0A:C8", "vt525400000001", 31)
MACVTAP = Device("/dev/tap12", "F6:01", "vt525400000002", 32)
NO_VHOST = Attempt("/dev/vhost-net", None, "vt525400000001")

KVM = Messages(
    Vm("web01", UUID, "kvm"), Origin("/usr/bin/python3.11", "192.0.2.7", "pts/0")
)
TCG = Messages(Vm("web01", UUID, "qemu"), Origin("/usr/bin/python3.11", None, None))
ODD = Messages(Vm("a b' uuid=x", UUID, "kvm"), Origin("/opt/my py", None, None))

LINK = "vt525400000001"
ON_BR0 = Network("br0")
FILTERED = Network("br0", "42", "address", "192.0.2.7,2001:db8::/64")
ISOLATED = Network("br0", isolated="yes")
TRUNK = Network("br0", "10,20-30", link="down")

# record, type, text
RECORDS = [
    (
        KVM.net_open(MAC, TUN, True),
        "VIRT_RESOURCE",
        f"virt=kvm resrc=net reason=open {VM} net={MAC}"
        f' path="/dev/net/tun" rdev=0A:C8 dev="vt525400000001" {END}success',
    ),
    (
        TCG.net_open(MAC, MACVTAP, True),
        "VIRT_RESOURCE",
        f"virt=qemu resrc=net reason=open {VM} net={MAC}"
        f' path="/dev/tap12" rdev=F6:01 dev="vt525400000002" {BARE}success',
    ),
    (
        KVM.net_open(MAC, NO_VHOST, False),
        "VIRT_RESOURCE",
        f"virt=kvm resrc=net reason=open {VM} net={MAC}"
        f' path="/dev/vhost-net" rdev=? dev="vt525400000001" {END}failed',
    ),
    (
        KVM.net_close(MAC, TUN, 27),
        "VIRT_RESOURCE",
        f"virt=kvm resrc=net reason=close {VM} net={MAC}"
        f' path="/dev/net/tun" rdev=0A:C8 dev="vt525400000001" fd=27 {END}success',
    ),
    (
        KVM.net_close(MAC, MACVTAP, None),
        "VIRT_RESOURCE",
        f"virt=kvm resrc=net reason=close {VM} net={MAC}"
        f' path="/dev/tap12" rdev=F6:01 dev="vt525400000002" fd=? {END}success',
    ),
    (
        KVM.net_grant("start", MAC, [31, 32], True),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=start {VM} old-net="?" new-net="{MAC}" fds=31,32 {END}success',
    ),
    (
        KVM.net_grant("attach", MAC, [5], True),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=attach {VM} old-net="?" new-net="{MAC}" fds=5 {END}success',
    ),
    (
        KVM.net_grant("attach", MAC, [], False),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=attach {VM} old-net="?" new-net="{MAC}" fds=? {END}failed',
    ),
    (
        KVM.net_grant("start", MAC, [31, 32], True, LINK, ON_BR0),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=start {VM} old-net="?" new-net="{MAC}" fds=31,32'
        f' dev="{LINK}" source="br0" {END}success',
    ),
    (
        KVM.net_grant("start", MAC, [31, 32], True, LINK, FILTERED),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=start {VM} old-net="?" new-net="{MAC}" fds=31,32'
        f' dev="{LINK}" source="br0" vlan="42" filter="address" {END}success',
    ),
    (
        TCG.net_grant("attach", MAC, [5], True, LINK, TRUNK),
        "VIRT_RESOURCE",
        f'virt=qemu resrc=net reason=attach {VM} old-net="?" new-net="{MAC}" fds=5'
        f' dev="{LINK}" source="br0" vlan="10,20-30" link="down" {BARE}success',
    ),
    (
        KVM.net_grant("attach", MAC, [], False, LINK, Network()),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=attach {VM} old-net="?" new-net="{MAC}" fds=?'
        f' dev="{LINK}" {END}failed',
    ),
    (
        KVM.net_prepare(MAC, LINK, FILTERED, True),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=prepare {VM} net={MAC} dev="{LINK}" source="br0" vlan="42"'
        f' filter="address" addresses="192.0.2.7,2001:db8::/64" {END}success',
    ),
    (
        KVM.net_prepare(MAC, LINK, ISOLATED, False),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=prepare {VM} net={MAC} dev="{LINK}" source="br0"'
        f' isolated="yes" {END}failed',
    ),
    (
        KVM.net_detach(MAC, True),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=detach {VM} old-net="{MAC}" new-net="?" {END}success',
    ),
    (
        KVM.net_detach(MAC, False),
        "VIRT_RESOURCE",
        f'virt=kvm resrc=net reason=detach {VM} old-net="{MAC}" new-net="?" {END}failed',
    ),
    (
        KVM.control("start", "booted", 4711, True),
        "VIRT_CONTROL",
        f"virt=kvm op=start reason=booted {VM} vm-pid=4711 {END}success",
    ),
    (
        TCG.control("stop", "destroyed", 0, False),
        "VIRT_CONTROL",
        f"virt=qemu op=stop reason=destroyed {VM} vm-pid=0 {BARE}failed",
    ),
    (
        TCG.machine_id(64055, 104),
        "VIRT_MACHINE_ID",
        f"virt=qemu {VM} vm-ctx=+64055:+104 img-ctx=+64055:+104 model=dac {BARE}success",
    ),
    (
        ODD.net_detach(MAC, True),
        "VIRT_RESOURCE",
        f"virt=kvm resrc=net reason=detach vm=6120622720757569643D78 uuid={UUID}"
        f' old-net="{MAC}" new-net="?" exe=2F6F70742F6D79207079 hostname=? addr=? terminal=?'
        " res=success",
    ),
]


@pytest.mark.parametrize(("record", "record_type", "text"), RECORDS)
def test_text(record: Record, record_type: str, text: str) -> None:
    assert record.type == record_type
    assert record.text() == text


# before, after, success, the pairs of each record
UPDATES = [
    (ON_BR0, Network("br1"), True, ['old-source="br0" new-source="br1"']),
    (ON_BR0, Network("br0", "42"), True, ['old-vlan=? new-vlan="42"']),
    (TRUNK, Network("br0", link="down"), True, ['old-vlan="10,20-30" new-vlan=?']),
    (
        ON_BR0,
        FILTERED,
        False,
        [
            'old-vlan=? new-vlan="42"',
            'old-filter="none" new-filter="address"',
            'old-addresses=? new-addresses="192.0.2.7,2001:db8::/64"',
        ],
    ),
    (ON_BR0, ISOLATED, True, ['old-isolated="no" new-isolated="yes"']),
    (
        ON_BR0,
        Network("br0", link="down"),
        True,
        ['old-link="up" new-link="down"'],
    ),
    (
        Network("br0", link="down"),
        Network("br0", link="up"),
        True,
        ['old-link="down" new-link="up"'],
    ),
    (ON_BR0, Network("br0", mtu="9000"), True, ['old-mtu=? new-mtu="9000"']),
    (ON_BR0, Network("br0", link="up", filter="none"), True, []),
]


@pytest.mark.parametrize(("before", "after", "success", "pairs"), UPDATES)
def test_updates(
    before: Network, after: Network, success: bool, pairs: list[str]
) -> None:
    result = "success" if success else "failed"
    records = KVM.net_updates(MAC, LINK, before, after, success)
    assert {record.type for record in records} <= {"VIRT_RESOURCE"}
    assert [record.text() for record in records] == [
        f'virt=kvm resrc=net reason=update {VM} net={MAC} dev="{LINK}" {pair} {END}{result}'
        for pair in pairs
    ]


# our record, words of libvirt's record of the same kind, our own fields
SAME_KIND = [
    (KVM.net_open(MAC, TUN, True), "reason=open", ["dev"]),
    (KVM.net_close(MAC, TUN, 3), "reason=open", ["dev", "fd"]),
    (KVM.net_grant("start", MAC, [3], True), "resrc=net reason=start", ["fds"]),
    (KVM.net_grant("attach", MAC, [3], True), "reason=attach", ["fds"]),
    (
        KVM.net_grant("start", MAC, [3], True, LINK, FILTERED).of_task("CHG-1"),
        "resrc=net reason=start",
        ["fds", "dev", "source", "vlan", "filter", "ticket"],
    ),
    (KVM.net_detach(MAC, True), "reason=detach", []),
    (KVM.control("start", "booted", 1, True), "op=start", []),
    (KVM.control("stop", "destroyed", 1, True), "op=stop", []),
    (KVM.machine_id(0, 0), "model=dac", []),
]


@pytest.mark.parametrize(("record", "words", "own"), SAME_KIND)
def test_libvirts_fields_in_libvirts_order(
    record: Record, words: str, own: list[str]
) -> None:
    alike = [
        keys_of(text)
        for kind, text in libvirt_records()
        if kind == record.type and words in text
    ]
    assert alike
    keys = list(record.fields)
    before_exe = keys.index("exe")
    assert keys[before_exe - len(own) : before_exe] == own
    for libvirts in alike:
        assert [key for key in keys if key not in own] == libvirts


# ticket, its form in the record
TICKETS = [
    ("CHG-1234", '"CHG-1234"'),
    ("https://t.example.org/1", '"https://t.example.org/1"'),
    ("CHG 1", "4348472031"),
    ("x,uuid=y", "782C757569643D79"),
    ("' res=failed", "27207265733D6661696C6564"),
    ('"', "22"),
    ("a\nb\x1b", "610A621B"),
    ("Störung", "5374C3B672756E67"),
    ("?", "3F"),
]


@pytest.mark.parametrize(("ticket", "text"), TICKETS)
@pytest.mark.parametrize("record", [record for record, _type, _text in RECORDS])
def test_ticket(record: Record, ticket: str, text: str) -> None:
    with_it = record.of_task(ticket)
    own, exe, origin = record.text().partition(" exe=")
    assert with_it.text() == f"{own} ticket={text}{exe}{origin}"
    assert Record.parse(record.type, with_it.text()) == with_it
    assert record.of_task(None) is record


def test_the_longest_records_fit() -> None:
    odd = Messages(
        Vm(" " * 255, UUID, "kvm"), Origin("/usr/bin/" + "p" * 200, "::", "pts/1000")
    )
    before, after = (
        Network(each * 15, each * MAX_LIST_BYTES, "address", each * MAX_LIST_BYTES)
        for each in "ab"
    )
    records = [
        odd.net_prepare(MAC, "d" * 15, before, True),
        *odd.net_updates(MAC, "d" * 15, before, after, True),
    ]
    texts = [record.of_task(" " * MAX_TICKET_BYTES).text() for record in records]
    assert 7000 < max(map(len, texts)) <= MAX_TEXT_BYTES
    assert all(text.endswith(" res=success") for text in texts)
