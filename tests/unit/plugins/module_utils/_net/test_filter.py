# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pure part of the filter. The target vm_net_filter tests with frames what the filter lets pass."""

from __future__ import annotations

import errno
import functools
import os
import struct
import sys
import types
import typing as t

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import LinkError
from ansible_collections.virtaudit.qemu.plugins.module_utils._net import netlink
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.addresses import (
    MAX_ADDRESSES,
    parse_addresses,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter import (
    changes,
    nfnetlink,
    nft,
    table,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter.elements import (
    Rights,
    elements_of,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.filter.ruleset import (
    SETS,
    build,
    labels,
)

MAC = "52:54:00:00:00:01"


def rights(*addresses: t.Any, level: t.Any = "address", trunk: t.Any = False) -> t.Any:
    return Rights(17, MAC, level, parse_addresses("addresses", addresses), trunk)


def by_set(given: t.Any) -> t.Any:
    found: t.Any = {}
    for element in elements_of(given):
        found.setdefault(element.set, []).append(element.text())
    return found


def test_the_level_mac_allows_the_mac_alone() -> None:
    assert by_set(rights(level="mac")) == {
        "nics": ["17"],
        "macs": ["17 . 52:54:00:00:00:01"],
        "nd_macs": ["17 . 0x525400000001"],
    }


def test_only_a_trunk_may_send_tags() -> None:
    assert by_set(rights(level="mac", trunk=True))["trunks"] == ["17"]


def test_addresses_and_networks_stand_in_their_sets() -> None:
    found = by_set(rights("192.0.2.7", "198.51.100.0/24", "2001:db8::/32"))

    assert found["addressed"] == ["17"]
    assert found["addresses4"] == ["17 . 192.0.2.7"]
    assert found["networks4"] == ["17 . 198.51.100.0-198.51.100.255"]
    assert found["networks6"] == [
        "17 . 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
    ]
    assert found["target_networks6"] == [
        "17 . 0x20010db8000000000000000000000000-0x20010db8ffffffffffffffffffffffff"
    ]


def test_a_nic_with_an_ipv6_address_also_has_the_link_local_address_of_its_mac() -> (
    None
):
    found = by_set(rights("2001:db8::7"))

    assert found["addresses6"] == ["17 . 2001:db8::7", "17 . fe80::5054:ff:fe00:1"]
    assert len(found["targets6"]) == 2


@pytest.mark.parametrize("addresses", [("192.0.2.7",), ("fe80::/10",)])
def test_no_link_local_address_is_added_without_ipv6_or_where_it_is_named(
    addresses: t.Any,
) -> None:
    assert "addresses6" not in by_set(rights(*addresses))


def test_the_kernel_s_key_pads_each_part() -> None:
    keys = {element.set: element for element in elements_of(rights("192.0.2.0/24"))}

    assert keys["macs"].key() == struct.pack("=I", 17) + bytes.fromhex(
        "5254000000010000"
    )
    assert keys["networks4"].key() == struct.pack(">I", 17) + bytes([192, 0, 2, 0])
    assert keys["networks4"].key_end() == struct.pack(">I", 17) + bytes(
        [192, 0, 2, 255]
    )


@pytest.mark.parametrize(
    ("family", "table"),
    [
        ("bridge", "bridge virtaudit_1"),
        ("netdev", "netdev virtaudit_1"),
        ("ingress", "netdev virtaudit_1_ingress"),
    ],
)
def test_the_script_makes_each_set_and_each_chain(family: t.Any, table: str) -> None:
    text = build(family)

    for name in SETS:
        assert f"add set {table} {name} " in text
    for chain, rules in labels(family).items():
        assert f"add chain {table} {chain}" in text
        for label in rules:
            assert f'comment "{label}"' in text


def test_every_chain_ends_with_a_verdict_for_all_other_frames() -> None:
    last = {}
    for line in build("bridge").splitlines():
        words = line.split()
        if words[:2] == ["add", "rule"]:
            last[words[4]] = line.partition(" comment")[0]
    del last["from_guests"]

    assert set(last) == set(labels("bridge")) - {"from_guests"}
    for chain, rule in last.items():
        assert rule.split()[-1] in ("drop", "accept") or " goto " in rule, chain
    assert [chain for chain, rule in last.items() if rule.endswith("accept")] == [
        "guest_ip6"
    ]


class Kernel:
    """Keeps elements and chains as the orders say, and what libnftables was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: str = "whole") -> None:
        self.elements: set[tuple[str, bytes]] = set()
        self.hooks: set[int] = set()
        self.commands: list[str] = []
        self.transactions: list[list[tuple[str, t.Any]]] = []
        monkeypatch.setattr(table, "state_of", lambda family: state)
        monkeypatch.setattr(table, "there", self.there)
        monkeypatch.setattr(
            table, "has_hook", lambda family, index: index in self.hooks
        )
        monkeypatch.setattr(table, "enters", lambda *given: False)
        monkeypatch.setattr(nft, "run", self.commands.append)
        monkeypatch.setattr(nft, "missing_of", lambda *given: {})
        monkeypatch.setattr(table, "change", self.transact)
        for verb in ("add", "delete", "add_hook", "delete_hook"):
            monkeypatch.setattr(changes, verb, functools.partial(self.order, verb))

    def there(self, family: str, elements: t.Any) -> t.Any:
        return [each for each in elements if (each.set, each.key()) in self.elements]

    def order(self, verb: str, *args: t.Any) -> list[tuple[str, t.Any]]:
        if "hook" in verb:
            return [(verb, args)]
        return [(verb, each) for each in args[1]]

    def transact(self, orders: list[tuple[str, t.Any]]) -> None:
        self.transactions.append(orders)
        for verb, each in orders:
            if verb == "add":
                self.elements.add((each.set, each.key()))
            elif verb == "delete":
                # The kernel refuses to delete what is not there.
                self.elements.remove((each.set, each.key()))

    def last(self) -> list[tuple[str, str]]:
        return [
            (verb, f"{each.set} {each.text()}") for verb, each in self.transactions[-1]
        ]


@pytest.mark.parametrize(
    ("state", "makes"), [("whole", False), ("damaged", True), ("missing", True)]
)
def test_the_table_is_written_only_where_it_is_not_whole(
    monkeypatch: pytest.MonkeyPatch, state: t.Any, makes: t.Any
) -> None:
    kernel = Kernel(monkeypatch, state)

    nft.put("bridge", "vt0", rights("192.0.2.7"))

    assert kernel.commands == ([build("bridge")] if makes else [])
    assert ("add", "macs 17 . 52:54:00:00:00:01") in kernel.last()


def test_other_addresses_are_added_and_the_old_ones_go_in_one_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch)

    nft.put("bridge", "vt0", rights("192.0.2.7"))
    nft.put("bridge", "vt0", rights("192.0.2.8"), rights("192.0.2.7"))

    assert kernel.last() == [
        ("delete", "addresses4 17 . 192.0.2.7"),
        ("add", "addresses4 17 . 192.0.2.8"),
    ]


def test_a_change_that_was_cut_off_is_completed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch)

    nft.put("bridge", "vt0", rights("192.0.2.8"))
    nft.put("bridge", "vt0", rights("192.0.2.8"), rights("192.0.2.7"))
    assert len(kernel.transactions) == 1
    nft.remove("bridge", rights("192.0.2.7"))

    assert kernel.elements == {
        (each.set, each.key())
        for each in elements_of(rights("192.0.2.8"))
        if each.set == "addresses4"
    }


def test_the_filters_of_new_nics_share_transactions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch)
    wanted = {
        f"vt{index}": rights("192.0.2.7")._replace(ifindex=index) for index in range(5)
    }

    assert nft.put_all("bridge", wanted) == {}

    assert len(kernel.transactions) == 2
    assert kernel.elements == {
        (each.set, each.key())
        for given in wanted.values()
        for each in elements_of(given)
    }


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "read back"])
def test_a_filter_that_cannot_be_put_in_place_is_named(
    monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    kernel = Kernel(monkeypatch)
    bad = rights("192.0.2.8")._replace(ifindex=18)

    def transact(orders: list[tuple[str, t.Any]]) -> None:
        if not lost and any(each.ifindex == 18 for _verb, each in orders):
            raise OSError(errno.EINVAL, "no")
        kernel.transact(orders)

    def missing_of(family: str, wanted: dict[str, Rights]) -> dict[str, str]:
        return {name: "it is gone" for name, each in wanted.items() if each is bad}

    monkeypatch.setattr(table, "change", transact)
    if lost:
        monkeypatch.setattr(nft, "missing_of", missing_of)
    failures = nft.put_all("bridge", {"vt0": rights("192.0.2.7"), "vt1": bad})

    assert [*failures] == ["vt1"]
    assert str(failures["vt1"]) == (
        "the filter of vt1 was put in place, and it is gone"
        if lost
        else "nftables refused the filter: no"
    )
    assert ("macs", elements_of(rights("192.0.2.7"))[1].key()) in kernel.elements


@pytest.mark.parametrize("family", ["netdev", "ingress"])
@pytest.mark.parametrize("there", [False, True])
def test_a_link_that_is_no_port_of_a_bridge_has_a_chain_of_its_own(
    monkeypatch: pytest.MonkeyPatch, there: t.Any, family: t.Any
) -> None:
    kernel = Kernel(monkeypatch)
    if there:
        # Another link has the name that it takes frames of.
        kernel.hooks.add(17)

    nft.put(family, "vt0", rights(level="mac"))

    hooks = [each for each in kernel.transactions[-1] if "hook" in each[0]]
    deleted = [("delete_hook", (family, 17))] if there else []
    assert hooks == [*deleted, ("add_hook", (family, "vt0", 17))]


@pytest.mark.parametrize(
    ("others", "reads"), [(0, 1), (1, 2)], ids=["ours alone", "another's too"]
)
def test_the_rules_are_read_again_when_somebody_else_has_changed_something(
    monkeypatch: pytest.MonkeyPatch, others: int, reads: int
) -> None:
    generation = 7
    read: list[str] = []

    def transact(orders: t.Any) -> None:
        nonlocal generation
        generation += 1 + others

    monkeypatch.setattr(table, "_found", {})
    monkeypatch.setattr(nfnetlink, "generation", lambda: generation)
    monkeypatch.setattr(nfnetlink, "transact", transact)

    def read_state(family: str) -> str:
        read.append(family)
        return "whole"

    monkeypatch.setattr(table, "_read_state", read_state)

    for _task in range(2):
        assert table.state_of("bridge") == "whole"
    table.change([])
    assert table.state_of("bridge") == "whole"

    assert len(read) == reads


def test_a_wider_range_is_not_the_range_that_the_task_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide, narrow = (
        next(each for each in elements_of(rights(network)) if each.last is not None)
        for network in ("10.0.0.0/16", "10.0.0.0/24")
    )
    answer = netlink.attributes(
        nfnetlink.elements("bridge", "networks4", [changes.element(wide)])
    )
    answers = [answer, answer, errno.ENOENT, errno.EINVAL]
    monkeypatch.setattr(nfnetlink, "ask_each", lambda *questions: answers)

    assert table.there("bridge", [wide, narrow, wide, wide]) == [wide]


def test_an_error_of_the_kernel_is_no_missing_element(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nfnetlink, "ask_each", lambda *questions: [errno.EPERM])

    with pytest.raises(LinkError, match="Operation not permitted"):
        table.has("bridge", elements_of(rights())[1])


def test_as_many_networks_as_a_nic_can_have_fit_into_a_message() -> None:
    networks = [f"2001:db8:{number:x}::/48" for number in range(MAX_ADDRESSES)]
    elements = elements_of(rights(*networks))

    orders = changes.add("bridge", elements)

    assert len(orders) == len({each.set for each in elements})
    assert max(len(each.payload) for each in orders) < 65536


def test_a_table_of_somebody_else_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "state_of", lambda family: "foreign")

    with pytest.raises(LinkError, match="was not made by this collection"):
        nft.put("bridge", "vt0", rights("192.0.2.7"))
    nft.remove("bridge", rights("192.0.2.7"))


def test_a_library_that_ends_its_process_does_not_end_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = types.ModuleType("nftables")
    library.Nftables = lambda: os._exit(3)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nftables", library)

    with pytest.raises(LinkError, match="a child process of the task ended before"):
        nft.run("")
