# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes orders to the kernel that change the filter of one NIC. Pure.

They add and delete elements of sets, and the chain by which the frames of one link enter the table.

Source: ``include/uapi/linux/netfilter/nf_tables.h``.
"""

from __future__ import annotations

import typing as t

from .. import netlink
from . import nfnetlink
from .elements import Element
from .ruleset import Family, hook_of, name_of

_LIST_ELEMENT = 1
_ELEMENT_KEY, _ELEMENT_KEY_END = 1, 10
_DATA_VALUE, _DATA_VERDICT = 1, 2
_TABLE_NAME = 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY, _HOOK_DEVICE = 1, 2, 3
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 4, 7
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_IMMEDIATE_REGISTER, _IMMEDIATE_DATA = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_INGRESS, _EGRESS = 0, 1
_DROP, _ACCEPT = 0, 1
_GOTO, _REGISTER_VERDICT = -4, 0
_APPEND = 0x800


def element(each: Element) -> bytes:
    """Return an element in the form of the kernel's messages."""
    parts = [_data(_ELEMENT_KEY, each.key())]
    last = each.key_end()
    if last is not None:
        parts.append(_data(_ELEMENT_KEY_END, last))
    return netlink.nested(_LIST_ELEMENT, *parts)


def is_element(answer: list[tuple[int, bytes]], each: Element) -> bool:
    """Tell whether the kernel's answer, in attributes, has exactly this element, and not only a range around its key."""
    wanted = [each.key(), each.key_end()]
    for listed in nfnetlink.listed(answer):
        parts = dict(netlink.attributes(listed))
        keys = [_value(parts.get(kind)) for kind in (_ELEMENT_KEY, _ELEMENT_KEY_END)]
        if keys == wanted:
            return True
    return False


def add(family: Family, elements: t.Iterable[Element]) -> list[netlink.Order]:
    """Return the orders that add elements. An element that exists already is not an error."""
    return _of_elements(nfnetlink.NEWSETELEM, family, elements)


def delete(family: Family, elements: t.Iterable[Element]) -> list[netlink.Order]:
    """Return the orders that delete elements. The elements have to exist."""
    return _of_elements(nfnetlink.DELSETELEM, family, elements)


def probe() -> list[netlink.Order]:
    """Return orders that the kernel accepts only if it can filter what a macvtap sends."""
    table = "virtaudit_probe"
    return [
        nfnetlink.order(
            nfnetlink.NEWTABLE, "netdev", nfnetlink.text(_TABLE_NAME, table)
        ),
        nfnetlink.order(
            nfnetlink.NEWCHAIN,
            "netdev",
            _base_chain(table, "probe", "lo", _ACCEPT, _EGRESS),
        ),
    ]


def add_hook(family: Family, ifname: str, index: int) -> list[netlink.Order]:
    """Return the orders that send a link's frames through the table, and that drop the frames if the table is empty."""
    table, name = name_of(family), hook_of(index)
    hook = _EGRESS if family == "netdev" else _INGRESS
    chain = _base_chain(table, name, ifname, _DROP, hook)
    rule = (
        nfnetlink.text(_RULE_TABLE, table)
        + nfnetlink.text(_RULE_CHAIN, name)
        + netlink.nested(_RULE_EXPRESSIONS, _goto("guest"))
        + nfnetlink.userdata(_RULE_USERDATA, f"{name} 1")
    )
    return [
        nfnetlink.order(nfnetlink.NEWCHAIN, family, chain),
        nfnetlink.order(
            nfnetlink.NEWRULE, family, rule, netlink.NLM_F_CREATE | _APPEND
        ),
    ]


def delete_hook(family: Family, index: int) -> list[netlink.Order]:
    """Return the order that deletes the chain of a link with its rule."""
    chain = _chain(name_of(family), hook_of(index))
    return [nfnetlink.order(nfnetlink.DELCHAIN, family, chain, 0)]


def _of_elements(
    kind: int, family: Family, elements: t.Iterable[Element]
) -> list[netlink.Order]:
    by_set: dict[str, list[bytes]] = {}
    for each in elements:
        by_set.setdefault(each.set, []).append(element(each))
    return [
        nfnetlink.order(kind, family, nfnetlink.elements(family, name, listed))
        for name, listed in by_set.items()
    ]


def _chain(table: str, name: str) -> bytes:
    return nfnetlink.text(_CHAIN_TABLE, table) + nfnetlink.text(_CHAIN_NAME, name)


def _base_chain(table: str, name: str, ifname: str, policy: int, where: int) -> bytes:
    """Return the attributes of a chain that gets the frames that a link sends."""
    hook = netlink.nested(
        _CHAIN_HOOK,
        nfnetlink.number(_HOOK_NUMBER, where),
        nfnetlink.number(_HOOK_PRIORITY, 0),
        nfnetlink.text(_HOOK_DEVICE, ifname),
    )
    kind = nfnetlink.text(_CHAIN_TYPE, "filter")
    return _chain(table, name) + hook + nfnetlink.number(_CHAIN_POLICY, policy) + kind


def _goto(chain: str) -> bytes:
    """Return the expression that goes to a chain."""
    verdict = netlink.nested(
        _DATA_VERDICT,
        nfnetlink.number(_VERDICT_CODE, _GOTO),
        nfnetlink.text(_VERDICT_CHAIN, chain),
    )
    immediate = netlink.nested(
        _EXPRESSION_DATA,
        nfnetlink.number(_IMMEDIATE_REGISTER, _REGISTER_VERDICT),
        netlink.nested(_IMMEDIATE_DATA, verdict),
    )
    name = nfnetlink.text(_EXPRESSION_NAME, "immediate")
    return netlink.nested(_LIST_ELEMENT, name, immediate)


def _data(kind: int, value: bytes) -> bytes:
    return netlink.nested(kind, netlink.attribute(_DATA_VALUE, value))


def _value(data: bytes | None) -> bytes | None:
    return None if data is None else dict(netlink.attributes(data)).get(_DATA_VALUE)
