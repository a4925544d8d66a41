# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads from the kernel whether the filter's tables are whole, and whether elements are in them.

Source: ``include/uapi/linux/netfilter/nf_tables.h``.
"""

from __future__ import annotations

import errno
import os
import typing as t

from ..._errors import LinkError
from .. import netlink
from . import changes, nfnetlink
from .elements import Element
from .ruleset import COMMENT, Family, hook_of, labels, name_of, words_of

State = t.Literal["whole", "damaged", "missing", "foreign"]

_TABLE_NAME, _TABLE_FLAGS, _TABLE_USERDATA = 1, 2, 6
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK = 1, 3, 4
_HOOK_DEVICE, _HOOK_DEVICES = 3, 4
_RULE_TABLE, _RULE_CHAIN, _RULE_USERDATA = 1, 2, 7
_DORMANT = 1


# The state that each table had, with the generation of nftables for which it was read.
_found: dict[Family, tuple[int, State]] = {}


def state_of(family: Family) -> State:
    """Return the state of a table. ``damaged`` is our table without some of its rules, ``foreign`` is somebody else's.

    The rules are read again only if somebody has changed nftables since the last time. Raises :class:`LinkError`.
    """
    try:
        now = nfnetlink.generation()
        if family not in _found or _found[family][0] != now:
            _found[family] = (now, _read_state(family))
        return _found[family][1]
    except OSError as exc:
        raise LinkError(
            f"the table {words_of(family)} of nftables could not be read: {exc.strerror or exc}"
        ) from exc


def change(orders: t.Sequence[netlink.Order]) -> None:
    """Change elements and chains of single NICs, in one transaction. Raises :class:`OSError`.

    This does not change the rules. So their state stays known if nobody else has changed nftables meanwhile.
    """
    before = nfnetlink.generation()
    nfnetlink.transact(orders)
    after = nfnetlink.generation()
    for family, (found, state) in list(_found.items()):
        if (found, after) == (before, before + 1):
            _found[family] = (after, state)


def _read_state(family: Family) -> State:
    table = _table(family)
    if table is None:
        return "missing"
    comment, dormant = table
    if comment != COMMENT:
        return "foreign"
    found = _rule_labels(family)
    whole = all(found.get(chain) == rules for chain, rules in labels(family).items())
    if family == "bridge":
        whole = whole and _bound_to(family, "from_guests") is not None
    return "whole" if whole and not dormant else "damaged"


def filtered(links: t.Mapping[str, int], family: Family) -> dict[str, bool | None]:
    """Return for each link whether it is filtered, or ``None`` if that cannot be read. ``links`` are indexes by name."""
    try:
        whole = state_of(family) == "whole"
        return {
            name: whole
            and has(family, Element("nics", index))
            and (family == "bridge" or enters(family, index, name))
            for name, index in links.items()
        }
    except LinkError:
        return dict.fromkeys(links)


def enters(family: Family, ifindex: int, ifname: str) -> bool:
    """Tell whether the frames of a link enter a table by the link's chain. Raises :class:`LinkError`.

    When somebody renames the link, the kernel detaches the chain from it.
    """
    chain = hook_of(ifindex)
    try:
        bound = _bound_to(family, chain) or ()
        found = _rule_labels(family, chain)
        return ifname in bound and found.get(chain) == [f"{chain} 1"]
    except OSError as exc:
        raise _unread_chain(chain, exc) from exc


def has_hook(family: Family, ifindex: int) -> bool:
    """Tell whether the chain of a link exists. Raises :class:`LinkError`."""
    chain = hook_of(ifindex)
    try:
        return _bound_to(family, chain) is not None
    except OSError as exc:
        raise _unread_chain(chain, exc) from exc


def there(family: Family, elements: t.Sequence[Element]) -> list[Element]:
    """Return those of the elements that are in their sets. Raises :class:`LinkError`."""
    asked = [
        nfnetlink.elements(family, each.set, [changes.element(each)])
        for each in elements
    ]
    try:
        answers = nfnetlink.ask_each(nfnetlink.GETSETELEM, family, asked)
    except OSError as exc:
        raise _unread_set(elements[0].set, exc.strerror or str(exc)) from exc
    found = []
    for element, answer in zip(elements, answers):
        # EINVAL: somebody made a set of that name with another key.
        if answer in (errno.ENOENT, errno.EINVAL):
            continue
        if isinstance(answer, int):
            raise _unread_set(element.set, os.strerror(answer))
        # The kernel may also answer with a wider range.
        if changes.is_element(answer, element):
            found.append(element)
    return found


def has(family: Family, element: Element) -> bool:
    """Tell whether a set has an element. Raises :class:`LinkError`."""
    return bool(there(family, [element]))


def _unread_set(name: str, reason: str) -> LinkError:
    return LinkError(f"the set {name} of nftables could not be read: {reason}")


def _unread_chain(chain: str, exc: OSError) -> LinkError:
    return LinkError(
        f"the chain {chain} of nftables could not be read: {exc.strerror or exc}"
    )


def _table(family: Family) -> tuple[str | None, bool] | None:
    """Return a table's comment, and whether the table is dormant."""
    try:
        replies = nfnetlink.ask(
            nfnetlink.GETTABLE, 0, family, nfnetlink.text(_TABLE_NAME, name_of(family))
        )
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return None
        raise
    values = dict(replies[0]) if replies else {}
    flags = int.from_bytes(values.get(_TABLE_FLAGS, b""), "big")
    return nfnetlink.comment(values.get(_TABLE_USERDATA)), bool(flags & _DORMANT)


def _rule_labels(
    family: Family, chain: str | None = None
) -> dict[str, list[str | None]]:
    """Return the comments of the rules of each chain, or of one."""
    found: dict[str, list[str | None]] = {}
    asked = nfnetlink.text(_RULE_TABLE, name_of(family))
    if chain is not None:
        asked += nfnetlink.text(_RULE_CHAIN, chain)
    for rule in nfnetlink.ask(nfnetlink.GETRULE, netlink.NLM_F_DUMP, family, asked):
        values = dict(rule)
        # Kernels before 5.x return the rules of all tables.
        if nfnetlink.string(values[_RULE_TABLE]) == name_of(family):
            name = nfnetlink.string(values[_RULE_CHAIN])
            label = nfnetlink.comment(values.get(_RULE_USERDATA))
            found.setdefault(name, []).append(label)
    return found


def _bound_to(family: Family, name: str) -> list[str] | None:
    """Return the links that a chain is bound to, or ``None`` if no frames enter by this chain."""
    asked = nfnetlink.text(_CHAIN_TABLE, name_of(family))
    asked += nfnetlink.text(_CHAIN_NAME, name)
    try:
        replies = nfnetlink.ask(nfnetlink.GETCHAIN, 0, family, asked)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return None
        raise
    values = dict(replies[0]) if replies else {}
    if _CHAIN_HOOK not in values:
        return None
    hook = netlink.attributes(values[_CHAIN_HOOK])
    links = [value for kind, value in hook if kind == _HOOK_DEVICE]
    for kind, value in hook:
        if kind == _HOOK_DEVICES:
            links += [device for _kind, device in netlink.attributes(value)]
    return [nfnetlink.string(link) for link in links]
